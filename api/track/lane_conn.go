package track

import (
	"bytes"
	"net"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"
)

// laneBuffer holds requests; one whose head is longer is net/http's.
const laneBuffer = 4 << 10

// The states of a lane's connection.
const (
	laneWaits = iota // for a request: may be closed at any moment
	laneBusy
	laneOver
)

// laneConn is one connection while it is the lane's.
type laneConn struct {
	lane  *Lane
	conn  net.Conn
	state atomic.Int32

	read, written time.Time // when the deadlines were moved
}

// end closes the connection unless a request is being answered; that one is
// its last.
func (s *laneConn) end() {
	if s.state.CompareAndSwap(laneWaits, laneOver) {
		_ = s.conn.Close()
	}
}

// serve answers until the connection ends or a request comes that is not the
// lane's.
func (s *laneConn) serve() {
	l := s.lane
	defer l.forget(s)
	defer func() {
		if p := recover(); p != nil {
			l.c.opts.Logger.Error("panic", "stage", "track", "panic", p, "stack", string(debug.Stack()))
			_ = s.conn.Close()
		}
	}()
	s.read = time.Now()
	if s.conn.SetReadDeadline(s.read.Add(laneFirst)) != nil {
		_ = s.conn.Close()
		return
	}
	s.read = s.read.Add(laneFirst - laneIdle) // it is moved after the first request
	in, out := make([]byte, laneBuffer), make([]byte, 0, 1<<10)
	v := newVisit()
	for have := 0; ; {
		n, err := s.conn.Read(in[have:])
		have += n
		if err != nil && n == 0 || l.ended.Load() || !s.state.CompareAndSwap(laneWaits, laneBusy) {
			_ = s.conn.Close()
			return
		}
		used := 0
		for used < have {
			h, plain := parseHead(in[used:have])
			var answered bool
			if plain {
				out, answered = s.answer(out[:0], v, h)
			}
			if !answered {
				s.handOver(in[used:have])
				return
			}
			if _, err := s.conn.Write(out); err != nil {
				_ = s.conn.Close()
				return
			}
			used += h.size
		}
		have = 0
		s.state.Store(laneWaits)
		if l.ended.Load() {
			s.end()
			return
		}
	}
}

// answer appends the answer to an open or a click; false when it is neither,
// or its token is not ours.
func (s *laneConn) answer(out []byte, v *visit, h head) ([]byte, bool) {
	c := s.lane.c
	path := h.path
	if n := len(c.prefix); n > 0 && len(path) > n && path[n] == '/' && string(path[:n]) == c.prefix {
		path = path[n:]
	}
	if len(path) < 4 || path[0] != '/' || path[2] != '/' {
		return out, false
	}
	tok, who := string(path[3:]), "prefetch"
	if !h.ahead {
		who = program(string(h.agent))
	}
	switch path[1] {
	case 'c':
		if !c.clicked(v, tok, who) {
			return out, false
		}
	case 'o':
		if !c.opened(v, strings.TrimSuffix(tok, ".gif"), who) {
			return out, false
		}
	default:
		return out, false
	}
	now := time.Now()
	s.moveDeadlines(now)
	if path[1] == 'c' {
		out = append(append(append(out, "HTTP/1.1 302 Found\r\nCache-Control: no-store, max-age=0\r\nLocation: "...), v.location...),
			"\r\nReferrer-Policy: no-referrer\r\n"...)
	} else {
		out = append(out, "HTTP/1.1 200 OK\r\nCache-Control: no-store, max-age=0\r\nContent-Type: image/gif\r\nCross-Origin-Resource-Policy: cross-origin\r\n"...)
	}
	out = s.lane.appendDate(out, now)
	if s.lane.ended.Load() {
		out = append(out, "Connection: close\r\n"...)
	}
	if path[1] == 'c' {
		return append(out, "Content-Length: 0\r\n\r\n"...), true
	}
	return append(append(out, "Content-Length: 43\r\n\r\n"...), pixel...), true
}

// moveDeadlines gives the next request, and this answer, their time. Moving
// them costs as much as opening a token, so it is done only now and then.
func (s *laneConn) moveDeadlines(now time.Time) {
	if now.Sub(s.read) > laneLazy {
		s.read = now
		_ = s.conn.SetReadDeadline(now.Add(laneIdle))
	}
	if now.Sub(s.written) > laneLazy {
		s.written = now
		_ = s.conn.SetWriteDeadline(now.Add(laneWrite))
	}
}

// handOver gives the connection to net/http, with what it has read.
func (s *laneConn) handOver(rest []byte) {
	if s.conn.SetDeadline(time.Time{}) != nil {
		_ = s.conn.Close()
		return
	}
	select {
	case s.lane.handed <- &handedConn{s.conn, bytes.NewReader(bytes.Clone(rest))}:
	case <-s.lane.closing:
		_ = s.conn.Close()
	}
}
