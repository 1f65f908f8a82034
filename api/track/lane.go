package track

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How long the lane's connections may take, as net/http's do.
const (
	laneFirst = 10 * time.Second // for the first request
	laneIdle  = 2 * time.Minute  // between two
	laneWrite = time.Minute      // for an answer to leave
	laneLazy  = 15 * time.Second // deadlines are moved no more often than this
)

// Lane is a listener in front of net/http's. Opens and clicks are answered in
// place, for about half the processor time. The first request on a connection
// that is anything else, in whatever respect, goes to whoever accepts from the
// lane, together with the connection and all that has been read from it, for
// good. Answers are the same by either way; a proxy that sends everything over
// the same few connections gets net/http's pace.
type Lane struct {
	c       *Collector
	ln      net.Listener
	handed  chan net.Conn // to Accept
	failed  chan struct{} // closed when err stands
	err     error         // why the listener gave up
	closing chan struct{}
	ended   atomic.Bool

	mu    sync.Mutex
	conns map[*laneConn]struct{}
	work  sync.WaitGroup

	date atomic.Pointer[dateLine]
}

// Lane takes over a listener. Close ends it.
func (c *Collector) Lane(ln net.Listener) *Lane {
	l := &Lane{
		c: c, ln: ln, handed: make(chan net.Conn), failed: make(chan struct{}), closing: make(chan struct{}),
		conns: map[*laneConn]struct{}{},
	}
	l.work.Go(l.accept)
	return l
}

// Accept implements net.Listener: the next connection that is not the lane's.
func (l *Lane) Accept() (net.Conn, error) {
	select {
	case conn := <-l.handed:
		return conn, nil
	case <-l.failed:
		return nil, l.err
	}
}

// Addr implements net.Listener.
func (l *Lane) Addr() net.Addr { return l.ln.Addr() }

// Close implements net.Listener: no new connections, idle ones are closed,
// requests that are being answered are finished. It does not wait for them:
// Drain does.
func (l *Lane) Close() error {
	if l.ended.Swap(true) {
		return net.ErrClosed
	}
	close(l.closing)
	err := l.ln.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.conns {
		s.end()
	}
	return err
}

// Drain waits after Close until the last request has its answer, or ctx ends.
func (l *Lane) Drain(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		l.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// accept feeds the lane. After errors such as too many open files it waits a
// little, as net/http does.
func (l *Lane) accept() {
	defer close(l.failed)
	for wait := time.Duration(0); ; {
		conn, err := l.ln.Accept()
		if err == nil {
			wait = 0
			l.take(conn)
			continue
		}
		var errno syscall.Errno
		if l.ended.Load() || !errors.As(err, &errno) || !errno.Temporary() {
			l.err = err
			return
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		select {
		case <-time.After(wait):
		case <-l.closing:
		}
	}
}

func (l *Lane) take(conn net.Conn) {
	s := &laneConn{lane: l, conn: conn}
	l.mu.Lock()
	l.conns[s] = struct{}{}
	if l.ended.Load() {
		s.end()
	}
	l.mu.Unlock()
	l.work.Go(s.serve)
}

func (l *Lane) forget(s *laneConn) {
	l.mu.Lock()
	delete(l.conns, s)
	l.mu.Unlock()
}

// dateLine is the Date header of one second.
type dateLine struct {
	second int64
	line   []byte
}

func (l *Lane) appendDate(dst []byte, now time.Time) []byte {
	d := l.date.Load()
	if d == nil || d.second != now.Unix() {
		d = &dateLine{second: now.Unix(), line: now.UTC().AppendFormat(nil, "Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n")}
		l.date.Store(d)
	}
	return append(dst, d.line...)
}

// handedConn is a connection that goes on with what has been read from it.
type handedConn struct {
	net.Conn
	rest *bytes.Reader
}

func (h *handedConn) Read(b []byte) (int, error) {
	if h.rest.Len() > 0 {
		return h.rest.Read(b)
	}
	return h.Conn.Read(b)
}
