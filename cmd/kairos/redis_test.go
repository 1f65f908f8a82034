package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestRedisFlushed: Redis forgets everything at five moments of a campaign and
// is away for five seconds; it only rings, so nothing is lost or done twice.
func TestRedisFlushed(t *testing.T) {
	const people, seed = 6000, 7
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	w, sink := newSMTPWorld(t, slowSink(20*time.Millisecond))
	w.serve(rolesFront)
	w.serve(rolesStage)
	w.serve(rolesSend)
	w.audience(people)
	options, err := redis.ParseURL(w.redis.URL())
	require.NoError(t, err)
	r := redis.NewClient(options)
	defer func() { _ = r.Close() }()
	id := w.launch(nil)
	for i := range 5 { // the first while it is planned, the others while it is sent
		taken(t, sink, people*i/8)
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond) // the moment is what is random
		require.NoError(t, r.FlushAll(t.Context()).Err())
		t.Logf("flush %d after %d messages", i+1, sink.Total())
	}
	taken(t, sink, people*5/8)
	at := sink.Total()
	require.NoError(t, w.redis.Stop(true))
	time.Sleep(5 * time.Second)
	require.NoError(t, w.redis.Start(t.Context()))
	t.Logf("redis went after %d messages and came back after %d", at, sink.Total())
	require.Less(t, at, people, "the campaign was over: nothing was proved")
	s := w.until(id, "finished", 90*time.Second)
	require.Equal(t, people, s.Progress.Accepted)
	require.Zero(t, s.Progress.Unknown)
	onceEach(t, sink, people)
}
