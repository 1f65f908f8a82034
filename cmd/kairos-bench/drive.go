package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// driven is what a drive saw.
type driven struct {
	lasted time.Duration
	took   []time.Duration // of each answered request
	alike  int64           // requests begun within a second of the same one's answer
}

// drive sends GET requests over so many connections, one at a time on each,
// for as long as clicks last. Its client is raw, so that it takes little of
// the machine from the server. Anything but a 302 is an error.
func (b *bench) drive(ctx context.Context, addr string, urls []string, connections int) (*driven, error) {
	tails := []byte(" HTTP/1.1\r\nHost: " + addr + "\r\nAccept: text/html\r\nAccept-Language: de,en;q=0.5\r\n" +
		"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\r\n")
	answered := make([]atomic.Int64, len(urls)) // when, in microseconds since began
	var next, alike atomic.Int64
	var mu sync.Mutex
	var all [][]time.Duration
	began := time.Now()
	over := began.Add(time.Duration(b.Seconds) * time.Second)
	g, ctx := errgroup.WithContext(ctx)
	for range connections {
		g.Go(func() error {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return fmt.Errorf("connect: %w", err)
			}
			defer func() { _ = conn.Close() }()
			in := bufio.NewReader(conn)
			took := make([]time.Duration, 0, 1<<14)
			var out []byte
			for {
				sent := time.Now()
				if sent.After(over) || ctx.Err() != nil {
					break
				}
				i := int((next.Add(1) - 1) % int64(len(urls)))
				if last := answered[i].Load(); last > 0 && sent.Sub(began).Microseconds()-last < 1_000_000 {
					alike.Add(1)
				}
				out = append(append(append(out[:0], "GET "...), urls[i]...), tails...)
				if _, err := conn.Write(out); err != nil {
					return fmt.Errorf("request: %w", err)
				}
				if err := redirected(in); err != nil {
					return err
				}
				end := time.Now()
				answered[i].Store(end.Sub(began).Microseconds())
				took = append(took, end.Sub(sent))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return &driven{lasted: time.Since(began), took: slices.Concat(all...), alike: alike.Load()}, nil
}

// redirected reads one answer without a body.
func redirected(in *bufio.Reader) error {
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 302")) {
			return fmt.Errorf("answer: %q", line)
		}
		if len(line) == 2 {
			return nil
		}
	}
}

func fetch(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", req.URL.Path, resp.Status)
	}
	return raw, err
}
