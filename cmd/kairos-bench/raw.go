package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
)

// rawConn is a keep-alive HTTP/1.1 connection that does as little as a client
// can: one write and, as a rule, one read for each request, nothing allocated.
type rawConn struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	tail []byte // of a GET, after its path
}

func dialRaw(ctx context.Context, addr string) (*rawConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &rawConn{conn: conn, in: bufio.NewReaderSize(conn, 4<<10), tail: []byte(" HTTP/1.1\r\nHost: " + addr + "\r\nAccept: text/html\r\nAccept-Language: de,en;q=0.5\r\n" +
		"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\r\n")}, nil
}

func (c *rawConn) close() { _ = c.conn.Close() }

// get sends a GET; any status but want is an error.
func (c *rawConn) get(path string, want int) error {
	c.out = append(append(append(c.out[:0], "GET "...), path...), c.tail...)
	if _, err := c.conn.Write(c.out); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return c.answer(want)
}

// post sends a body as JSON under a bearer key.
func (c *rawConn) post(path, key string, body []byte, want int) error {
	c.out = append(c.out[:0], "POST "+path+" HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer "+key+"\r\nContent-Type: application/json\r\nContent-Length: "...)
	c.out = append(strconv.AppendInt(c.out, int64(len(body)), 10), "\r\n\r\n"...)
	whole := net.Buffers{c.out, body}
	if _, err := whole.WriteTo(c.conn); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return c.answer(want)
}

var contentLength = []byte("content-length:")

// answer reads one answer; its body, of a told length, is discarded.
func (c *rawConn) answer(want int) error {
	length := 0
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		switch {
		case first:
			if len(line) < 12 || string(line[:9]) != "HTTP/1.1 " || int(line[9]-'0')*100+int(line[10]-'0')*10+int(line[11]-'0') != want {
				return fmt.Errorf("answer: %q", line)
			}
		case len(line) == 2:
			_, err := c.in.Discard(length)
			return err
		case len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength):
			for _, d := range bytes.TrimSpace(line[len(contentLength):]) {
				length = length*10 + int(d-'0')
			}
		}
	}
}
