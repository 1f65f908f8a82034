package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// client talks to the REST API.
type client struct {
	Server string `help:"Where Kairos serves." env:"KAIROS_URL" default:"http://127.0.0.1:8080" placeholder:"URL"`
	APIKey string `help:"API key." env:"KAIROS_API_KEY" required:"" placeholder:"KEY"`
}

// problem is the error body of RFC 9457.
type problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Errors []struct {
		Location string `json:"location"`
		Message  string `json:"message"`
	} `json:"errors"`

	again time.Duration // after which the same question may have an answer; 0: it won't
}

// again is when the server wants to be asked again.
func again(resp *http.Response) time.Duration {
	if resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
		return 0
	}
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		seconds = 1
	}
	return time.Duration(seconds) * time.Second
}

// Error implements error.
func (p *problem) Error() string {
	s := fmt.Sprintf("%d %s", p.Status, p.Title)
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	for _, e := range p.Errors {
		s += "\n  " + strings.TrimSpace(e.Location+" "+e.Message)
	}
	return s
}

// do calls the API: body is JSON-encoded unless it is an io.Reader, which goes
// out as contentType. The answer is decoded into out unless that is nil.
func (c *client) do(ctx context.Context, method, path string, body any, contentType string, out any) error {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		r = b
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return err
		}
		r, contentType = bytes.NewReader(raw), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.Server, "/")+path, r)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.APIKey)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("call %s: %w", path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 400 {
		p := &problem{Status: resp.StatusCode, Title: http.StatusText(resp.StatusCode), again: again(resp)}
		_ = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(p) // the status says enough where the body doesn't
		return p
	}
	if out == nil {
		return nil
	}
	if w, ok := out.(io.Writer); ok {
		_, err = io.Copy(w, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read answer of %s: %w", path, err)
	}
	return nil
}

// get decodes the answer of a GET. Where the server can't do it at the moment or
// is asked too often, it is asked again when it said, for half a minute.
func (c *client) get(ctx context.Context, path string, out any) error {
	for until := time.Now().Add(30 * time.Second); ; {
		err := c.do(ctx, http.MethodGet, path, nil, "", out)
		p := (*problem)(nil)
		if !errors.As(err, &p) || p.again <= 0 || time.Now().Add(p.again).After(until) {
			return err
		}
		if poll(ctx, p.again) != nil {
			return err
		}
	}
}

// post sends JSON and decodes the answer.
func (c *client) post(ctx context.Context, path string, body, out any) error {
	if body == nil {
		body = struct{}{}
	}
	return c.do(ctx, http.MethodPost, path, body, "", out)
}

// poll waits for d or the end of ctx.
func poll(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
