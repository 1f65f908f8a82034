package track

import (
	"bytes"
	"strings"
)

// head is the request line and the headers of one plain GET.
type head struct {
	path  []byte
	agent []byte
	ahead bool // a purpose header says that nobody is looking yet
	size  int  // bytes, with the empty line at its end
}

var (
	headEnd  = []byte("\r\n\r\n")
	getSpace = []byte("GET /")
	protocol = []byte(" HTTP/1.1\r\n")
)

// parseHead reads a request that needs nothing beyond its path and who is
// asking: a GET of HTTP/1.1 without a body, on a connection that stays, in the
// plainest spelling. It reports false for all others, good or bad: they are
// net/http's to judge.
func parseHead(b []byte) (h head, ok bool) {
	end := bytes.Index(b, headEnd)
	if end < 0 || !bytes.HasPrefix(b, getSpace) {
		return h, false
	}
	h.size = end + len(headEnd)
	b = b[:end+2]
	line := bytes.IndexByte(b, '\n') + 1
	if !bytes.HasSuffix(b[:line], protocol) {
		return h, false
	}
	h.path = b[len("GET ") : line-len(protocol)]
	for _, c := range h.path {
		if c <= ' ' || c >= 0x7f || c == '%' || c == '?' || c == '#' {
			return h, false // a query, an escape: rare, and net/http knows them
		}
	}
	hosts, agents, purposes := 0, 0, 0
	for b = b[line:]; len(b) > 0; {
		colon, line, plain := field(b)
		if !plain {
			return h, false
		}
		name, value := b[:colon], bytes.Trim(b[colon+1:line-2], " \t")
		b = b[line:]
		switch len(name) {
		case 4:
			if same(name, "host") {
				if hosts++; !plainHost(value) {
					return h, false
				}
			}
		case 5, 7, 9, 11:
			switch {
			case same(name, "upgrade"), same(name, "trailer"):
				return h, false
			case same(name, "x-moz"), same(name, "purpose"), same(name, "x-purpose"), same(name, "sec-purpose"):
				purposes++
				h.ahead = ahead(string(value))
			}
		case 6:
			if same(name, "expect") {
				return h, false
			}
		case 10:
			switch {
			case same(name, "user-agent"):
				agents++
				h.agent = value
			case same(name, "connection") && !same(value, "keep-alive"):
				return h, false
			}
		case 14:
			if same(name, "content-length") {
				return h, false
			}
		case 17:
			if same(name, "transfer-encoding") {
				return h, false
			}
		}
	}
	return h, hosts == 1 && agents <= 1 && purposes <= 1
}

// field measures the first header of b: where its colon is, and its length
// with the line's end.
func field(b []byte) (colon, line int, plain bool) {
	for colon < len(b) && b[colon] != ':' {
		if c := b[colon] | 0x20; (c < 'a' || c > 'z') && (b[colon] < '0' || b[colon] > '9') && b[colon] != '-' {
			return 0, 0, false
		}
		colon++
	}
	if colon == 0 || colon == len(b) {
		return 0, 0, false
	}
	for i := colon + 1; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\r':
			return colon, i + 2, i+1 < len(b) && b[i+1] == '\n'
		case c < ' ' && c != '\t' || c == 0x7f:
			return 0, 0, false
		}
	}
	return 0, 0, false
}

// same reports whether b is the lower-case word, in any case.
func same(b []byte, word string) bool {
	return len(b) == len(word) && strings.EqualFold(string(b), word)
}

func plainHost(b []byte) bool {
	for _, c := range b {
		if l := c | 0x20; (l < 'a' || l > 'z') && (c < '0' || c > '9') && !strings.ContainsRune(".-:[]_", rune(c)) {
			return false
		}
	}
	return len(b) > 0
}
