package main

import (
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kairos/delivery/deliverytest"
)

// ringing starts what the scenarios of Redis share: a campaign that is under
// way. More senders than one, so that doorbells go around.
func (t *trial) ringing(people int, delay time.Duration) (*deliverytest.SMTPSink, *redis.Client, string) {
	sink := t.smtp(delay)
	r := t.dialRedis()
	t.usual(2)
	t.audience(people)
	return sink, r, t.campaign(nil)
}

func (t *trial) dialRedis() *redis.Client {
	o, err := redis.ParseURL(t.stack.RedisURL())
	t.check(err)
	r := redis.NewClient(o)
	t.closing(r.Close)
	return r
}

// restful finishes a campaign whose faults leave nothing in doubt.
func (t *trial) restful(sink *deliverytest.SMTPSink, people int, id string) {
	t.finished(id, 10*time.Minute)
	t.settled(sink.Total)
	t.verify(sink.Recipients(), people, 0, id)
}

// resumed notes how long after since the counter moved again.
func (t *trial) resumed(since time.Time, total func() int, at int) {
	t.until(time.Minute, func() string {
		if total() <= at {
			return "nothing is sent"
		}
		return ""
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.TakeOvers = append(t.res.TakeOvers, time.Since(since))
}

// redisFlush: Redis forgets everything again and again. It only rings.
func redisFlush(t *trial) {
	people, flushes := pick(t, 4000, 40_000), pick(t, 5, 20)
	sink, r, id := t.ringing(people, pick(t, 15*time.Millisecond, 30*time.Millisecond))
	for i := range flushes { // the first while it is planned
		t.taken(sink.Total, people*i/(flushes+2))
		t.pause(t.between(0, 300*time.Millisecond))
		t.check(r.FlushAll(t.ctx).Err())
		n := t.takeOver(time.Now(), rungFor, "")
		t.fault("FLUSHALL with %d batches queued, after %d messages", n, sink.Total())
	}
	t.proves(sink.Total() < people, "the campaign was over before the last flush")
	t.restful(sink, people, id)
}

// redisDown: Redis is away for a while. What had been rung for is sent
// meanwhile; a campaign that is launched then begins when Redis is back.
func redisDown(t *trial) {
	t.deaf(pick(t, 3000, 20_000), pick(t, 10*time.Second, 5*time.Minute), "Redis is away",
		func(*redis.Client) { t.check(t.stack.Redis.Stop(true)) },
		func(*redis.Client) { t.check(t.stack.Redis.Start(t.ctx)) })
}

// deaf runs two campaigns around a time without doorbells: one is under way,
// the other is launched in it.
func (t *trial) deaf(people int, away time.Duration, what string, begin, end func(*redis.Client)) {
	sink, r, first := t.ringing(people, 20*time.Millisecond)
	t.taken(sink.Total, people/5)
	begin(r)
	t.fault("%s after %d messages", what, sink.Total())
	at := time.Now()
	second := t.campaign(nil)
	t.pause(away - time.Since(at))
	sent := sink.Total()
	t.proves(sent <= people, "the second campaign was sent meanwhile")
	end(r)
	back := time.Now()
	t.say("it is over after %d messages", sent)
	t.resumed(back, func() int { return t.count(`SELECT count(*) FROM attempts WHERE campaign = $1`, second) }, 0)
	t.finished(first, 10*time.Minute)
	t.finished(second, 10*time.Minute)
	t.settled(sink.Total)
	t.res.Recipients = 2 * people
	t.verify(sink.Recipients(), people, 0, first, second)
}

// redisOldDump: Redis comes back with what it held a while ago: doorbells for
// batches that are over or in other hands.
func redisOldDump(t *trial) {
	people, rounds := pick(t, 4000, 30_000), pick(t, 2, 6)
	sink, r, id := t.ringing(people, 20*time.Millisecond)
	for i := range rounds {
		t.taken(sink.Total, people*(2*i+1)/(2*rounds+2))
		t.check(r.Save(t.ctx).Err())
		saved := sink.Total()
		t.taken(sink.Total, people*(2*i+2)/(2*rounds+2))
		t.check(t.stack.Redis.Stop(true))
		t.check(t.stack.Redis.Start(t.ctx))
		t.fault("Redis is back at the state after %d messages, after %d", saved, sink.Total())
		n := t.takeOver(time.Now(), rungFor, "")
		t.say("%d batches were queued", n)
		keys, err := r.Keys(t.ctx, "asynq:*").Result()
		t.check(err)
		t.proves(len(keys) > 0, "the dump was not loaded")
	}
	t.proves(sink.Total() < people, "the campaign was over before the last restore")
	t.restful(sink, people, id)
}

// redisBlip: the connection to Redis breaks at the very moment a worker reports
// that it is done, so that asynq believes the work undone and repeats it.
func redisBlip(t *trial) {
	people, blips := pick(t, 3000, 10_000), pick(t, 12, 60)
	sink, err := deliverytest.NewSMTPSink(deliverytest.SinkOptions{Faults: []deliverytest.Fault{{At: deliverytest.AtDot, Delay: 12 * time.Millisecond}}})
	t.check(err)
	t.closing(sink.Close)
	t.world("KAIROS_EMAIL_PROVIDER=smtp", "KAIROS_SMTP_URL="+sink.URL())
	u, err := url.Parse(t.stack.RedisURL())
	t.check(err)
	p, err := newCutter(u.Host, "asynq:{delivery}:processed")
	t.check(err)
	t.closing(p.close)
	u.Host = p.addr
	t.redis = u.String()
	t.usual(2)
	t.audience(people)
	p.cut(blips)
	id := t.campaign(nil)
	t.finished(id, 10*time.Minute)
	t.res.Faults = p.cuts()
	t.proves(t.res.Faults > 0, "no report was cut off")
	// asynq repeats what it believes undone: after a second where the worker
	// could hand it back, after half a minute and more where it could not.
	t.pause(pick(t, 5*time.Second, 100*time.Second))
	t.restful(sink, people, id)
	t.res.note("%d reports of success were cut off", t.res.Faults)
}

// redisMemory: Redis takes nothing more for a while.
func redisMemory(t *trial) {
	t.deaf(pick(t, 3000, 20_000), pick(t, 6*time.Second, 60*time.Second), "maxmemory is reached",
		func(r *redis.Client) {
			t.check(r.ConfigSet(t.ctx, "maxmemory", "1mb").Err())
			err := r.Set(t.ctx, "chaos", "x", 0).Err()
			t.proves(err != nil && strings.Contains(err.Error(), "OOM"), "Redis still takes writes: %v", err)
		},
		func(r *redis.Client) { t.check(r.ConfigSet(t.ctx, "maxmemory", "0").Err()) })
}
