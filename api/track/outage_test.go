package track

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos"
	"kairos/internal/spool"
)

// disk is a fault that can be switched.
type disk struct {
	broken atomic.Bool // refuses with ENOSPC
	mu     sync.Mutex
	held   chan struct{} // not nil: file operations wait until it is closed
}

func (f *disk) fault(spool.Op, string) error {
	f.mu.Lock()
	held := f.held
	f.mu.Unlock()
	if held != nil {
		<-held
	}
	if f.broken.Load() {
		return syscall.ENOSPC
	}
	return nil
}

func (f *disk) hold() (release func()) {
	held := make(chan struct{})
	f.mu.Lock()
	f.held = held
	f.mu.Unlock()
	return sync.OnceFunc(func() {
		f.mu.Lock()
		f.held = nil
		f.mu.Unlock()
		close(held)
	})
}

// storm sends n opens and clicks from some callers and returns how long the
// 99th of a hundred took. All must be answered well.
func storm(t *testing.T, d *door, callers, n int) time.Duration {
	t.Helper()
	paths := d.paths()
	took := make([]time.Duration, n)
	var wg sync.WaitGroup
	for g := range callers {
		wg.Go(func() {
			for i := g; i < n; i += callers {
				path, want := paths["c"], 302
				if i%3 == 0 {
					path, want = paths["o"], 200
				}
				began := time.Now()
				r := d.do(http.MethodGet, path, "")
				took[i] = time.Since(began)
				if r.StatusCode != want {
					t.Errorf("status %d, want %d", r.StatusCode, want)
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took[n*99/100]
}

func usual(f *disk) func(*Options, *spool.Options) {
	return func(o *Options, so *spool.Options) {
		o.Patience, o.LongPatience, o.Wait = 0, 0, 200*time.Millisecond
		if f != nil {
			so.Fault = f.fault
		}
	}
}

// calm repeats a storm that the machine's other work may have disturbed: noise
// only adds, so one in time shows that the collector is. It returns the hits sent.
func calm(t *testing.T, d *door, callers, n int) (sent int) {
	t.Helper()
	var p99 time.Duration
	for range 5 {
		p99 = storm(t, d, callers, n)
		if sent += n; p99 <= promised {
			return sent
		}
	}
	require.LessOrEqual(t, p99, promised)
	return sent
}

// promised is the longest that 99 of 100 opens and clicks take.
const promised = 50 * time.Millisecond

func TestDiskFull(t *testing.T) {
	f := &disk{}
	d := open(t, usual(f))
	require.Equal(t, 302, d.do(http.MethodGet, d.paths()["c"], "").StatusCode)
	before := d.spool.Stats()
	require.Zero(t, before.Dropped)

	f.broken.Store(true)
	n := calm(t, d, 16, 2000)
	require.EqualValues(t, n, d.spool.Stats().Dropped, "each is counted")

	r := d.do(http.MethodPost, d.paths()["t"], `{"kind":"payment.received","amount":"1","currency":"EUR","key":"o1"}`)
	require.Equal(t, 503, r.StatusCode)
	require.Equal(t, "5", r.Header.Get("Retry-After"))
	require.Equal(t, "*", r.Header.Get("Access-Control-Allow-Origin"))
	require.NotContains(t, text(t, r), "no space")
	for body, contentType := range map[string]string{"List-Unsubscribe=One-Click": "application/problem+json", "action=unsubscribe": "text/html; charset=utf-8"} {
		r = d.do(http.MethodPost, d.paths()["u"], body, "Content-Type", urlencoded)
		require.Equal(t, 503, r.StatusCode)
		require.Equal(t, "5", r.Header.Get("Retry-After"))
		require.Equal(t, contentType, r.Header.Get("Content-Type"))
	}
	require.Equal(t, 200, d.do(http.MethodGet, d.paths()["u"], "").StatusCode)
	require.EqualValues(t, n, d.spool.Stats().Dropped, "what was answered 503 is not dropped")

	f.broken.Store(false)
	require.Eventually(t, func() bool {
		return d.do(http.MethodPost, d.paths()["t"], `{"kind":"page.viewed"}`).StatusCode == http.StatusAccepted
	}, 20*time.Second, 20*time.Millisecond)
}

func TestSpoolFull(t *testing.T) {
	d := open(t, usual(nil), func(_ *Options, so *spool.Options) { so.MaxBytes = 1 })
	n := calm(t, d, 8, 500)
	require.EqualValues(t, n, d.spool.Stats().Dropped)
	require.Equal(t, 503, d.do(http.MethodPost, d.paths()["t"], `{"kind":"page.viewed"}`).StatusCode)
}

func TestSpoolClosed(t *testing.T) {
	d := open(t, usual(nil))
	require.NoError(t, d.spool.Close())
	n := calm(t, d, 8, 500)
	require.EqualValues(t, n, d.spool.Stats().Dropped)
	require.Equal(t, 503, d.do(http.MethodPost, d.paths()["t"], `{"kind":"page.viewed"}`).StatusCode)
	require.Equal(t, 503, d.do(http.MethodPost, d.paths()["u"], "List-Unsubscribe=One-Click").StatusCode)
}

// A disk that hangs: clicks are answered, what must be kept is not, and when
// the disk comes back every hit is there: nothing was dropped.
func TestDiskHangs(t *testing.T) {
	f := &disk{}
	d := open(t, usual(f))
	release := f.hold()
	t.Cleanup(release) // before the spool closes
	n := calm(t, d, 25, 200)
	began := time.Now()
	require.Equal(t, 503, d.do(http.MethodPost, d.paths()["t"], `{"kind":"page.viewed"}`).StatusCode)
	require.Less(t, time.Since(began), 10*time.Second)
	require.Zero(t, d.spool.Stats().Dropped)
	release()
	require.Eventually(t, func() bool { return d.spool.Stats().Appended >= uint64(n) }, 20*time.Second, time.Millisecond)
	require.Zero(t, d.spool.Stats().Dropped)
	clicks := 0
	for _, h := range d.hits(t) {
		if h.Event.Kind != kairos.PageViewed { // that one was not acknowledged, and may be here
			clicks++
		}
	}
	require.Equal(t, n, clicks)
}

// What was answered while the disk hung, and then refused, is counted, and
// nobody goes on waiting for it.
func TestDiskHangsThenFails(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := &disk{}
	d := open(t, usual(f))
	release := f.hold()
	t.Cleanup(release)
	storm(t, d, 50, 100)
	f.broken.Store(true)
	release()
	require.Eventually(t, func() bool { return d.spool.Stats().Dropped == 100 }, 20*time.Second, time.Millisecond)
	require.NoError(t, d.spool.Close())
}

// One hit in a hundred may wait longer than patience, so that its answer is
// true; the others are answered.
func TestLongPatience(t *testing.T) {
	f := &disk{}
	d := open(t, func(o *Options, so *spool.Options) {
		o.Patience, o.LongPatience = 20*time.Millisecond, 20*time.Second
		so.Fault = f.fault
	})
	d.credit.Store(2 * longWaitPrice)
	release := f.hold()
	t.Cleanup(release)
	answered := make(chan struct{}, 5)
	path := d.paths()["c"]
	for range 5 {
		go func() { d.do(http.MethodGet, path, ""); answered <- struct{}{} }()
	}
	for range 3 {
		<-answered
	}
	require.Zero(t, d.credit.Load())
	select {
	case <-answered:
		t.Fatal("a hit that could afford to wait was answered before it was on disk")
	case <-time.After(50 * time.Millisecond):
	}
	release()
	<-answered
	<-answered
	require.Len(t, d.hits(t), 5)
}

func TestCreditIsEarned(t *testing.T) {
	d := open(t)
	storm(t, d, 4, 250)
	require.EqualValues(t, 250, d.credit.Load())
	d.credit.Store(maxCredit)
	storm(t, d, 1, 3)
	require.EqualValues(t, maxCredit, d.credit.Load())
}

// A caller that has gone does not take its click with it.
func TestCallerGone(t *testing.T) {
	d := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.paths()["c"], nil)
	require.NoError(t, err)
	d.ServeHTTP(discard{}, r)
	d.one(t, kairos.NotificationClicked)
}

// discard is the caller that has gone.
type discard struct{}

func (discard) Header() http.Header       { return http.Header{} }
func (discard) Write([]byte) (int, error) { return 0, http.ErrHandlerTimeout }
func (discard) WriteHeader(int)           {}
