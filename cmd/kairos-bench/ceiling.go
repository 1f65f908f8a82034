package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/smtp"
	"strconv"

	"golang.org/x/sync/errgroup"
)

// bareClient sends one message to each of persons from to to-1.
type bareClient func(ctx context.Context, addr string, raw []byte, from, to int) error

// ceiling measures how many messages per second, by its own clock, the sink
// takes from a client that has nothing else to do.
func (b *bench) ceiling(ctx context.Context, s *sink, n int, raw []byte, client bareClient) (float64, error) {
	if err := s.again(ctx); err != nil {
		return 0, err
	}
	g, sending := errgroup.WithContext(ctx)
	for i := range b.Connections {
		from, to := n*i/b.Connections, n*(i+1)/b.Connections
		g.Go(func() error { return client(sending, s.at.SMTP, raw, from, to) })
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	var c clock
	if err := s.ask(ctx, "/clock", &c); err != nil {
		return 0, err
	}
	if c.Total != n {
		return 0, fmt.Errorf("the sink took %d messages, not %d", c.Total, n)
	}
	return float64(c.Total) / c.Last.Sub(c.First).Seconds(), nil
}

// pipelined writes each message together with the commands of the next one
// and waits for nothing but the answer to it (RFC 2920).
func pipelined(ctx context.Context, addr string, raw []byte, from, to int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	var out []byte
	for i := from; i <= to; i++ {
		out = out[:0]
		if i > from {
			out = append(append(out, raw...), ".\r\n"...)
		}
		if i < to {
			out = append(out, "MAIL FROM:<news@shop.example>\r\nRCPT TO:<p"...)
			out = append(strconv.AppendInt(out, int64(i), 10), "@town.example>\r\nDATA\r\n"...)
		}
		if _, err := conn.Write(out); err != nil {
			return fmt.Errorf("write message: %w", err)
		}
		want := []byte("354 ")
		if i == to {
			want = []byte("250 2.0.0 ok: queued")
		}
		for {
			line, err := in.ReadSlice('\n')
			if err != nil {
				return fmt.Errorf("read answer: %w", err)
			}
			if bytes.HasPrefix(line, want) {
				break
			}
			if line[0] > '3' {
				return fmt.Errorf("the sink says %q", line)
			}
		}
	}
	return nil
}

// lockStep is the standard library's client: it waits for every answer.
func lockStep(ctx context.Context, addr string, raw []byte, from, to int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c, err := smtp.NewClient(conn, "127.0.0.1")
	if err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	defer func() { _ = c.Close() }()
	for i := from; i < to; i++ {
		if err := c.Mail("news@shop.example"); err != nil {
			return fmt.Errorf("name sender: %w", err)
		}
		if err := c.Rcpt(email(i)); err != nil {
			return fmt.Errorf("name recipient: %w", err)
		}
		body, err := c.Data()
		if err != nil {
			return fmt.Errorf("begin message: %w", err)
		}
		if _, err := body.Write(raw); err != nil {
			return fmt.Errorf("write message: %w", err)
		}
		if err := body.Close(); err != nil {
			return fmt.Errorf("end message: %w", err)
		}
	}
	return c.Quit()
}
