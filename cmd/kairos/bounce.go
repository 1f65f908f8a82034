package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"kairos/delivery"
)

const (
	// statusTempFail is EX_TEMPFAIL of sysexits.h: a mail server keeps the
	// message and tries again.
	statusTempFail = 75
	// bounceTime is how long the server may take over one message.
	bounceTime = time.Minute
)

type bounceCmd struct {
	client
	To   string `help:"Envelope recipient that the message was delivered to; default: its Delivered-To, X-Original-To or To." placeholder:"ADDRESS"`
	File string `arg:"" optional:"" help:"The message; - is standard input." default:"-"`
}

// tempFail is a failure that the same call may not meet later.
type tempFail struct{ cause string }

// Error implements error.
func (t *tempFail) Error() string { return t.cause + " (try again later)" }

// statusOf is the exit status for what a command ended with.
func statusOf(err error) int {
	var t *tempFail
	if errors.As(err, &t) {
		return statusTempFail
	}
	return 1
}

// bounceResult is the answer of POST /v1/bounces.
type bounceResult struct {
	Recorded  bool   `json:"recorded"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Attempt   string `json:"attempt,omitempty"`
	Kind      string `json:"kind,omitempty"`
	Class     string `json:"class,omitempty"`
	Code      string `json:"code,omitempty"`
}

// Run hands one message to the server. Of a larger one than the server takes
// only the beginning goes out: the report comes before what it returns.
func (c *bounceCmd) Run(ctx context.Context, t *terminal) error {
	if strings.ContainsFunc(c.To, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("--to must be one line")
	}
	file, _, err := openFile(c.File)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	message, err := io.ReadAll(io.LimitReader(file, delivery.MaxBounce))
	if err != nil {
		return &tempFail{fmt.Sprintf("read message: %v", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, bounceTime)
	defer cancel()
	path := "/v1/bounces"
	if c.To != "" {
		path += "?" + url.Values{"to": {c.To}}.Encode()
	}
	var out bounceResult
	if err := c.do(ctx, http.MethodPost, path, io.Reader(bytes.NewReader(message)), "message/rfc822", &out); err != nil {
		return hopeful(err)
	}
	words := "not recorded: " + out.Reason
	if out.Recorded {
		words = strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s", out.Kind, out.Class, out.Code, out.Attempt)), " ")
	}
	return t.print(out, words)
}

// hopeful tells what a later call may not meet: everything but the server's
// refusal of this message. A key that is no longer valid must not cost a
// report, nor may a stop in the middle of the call.
func hopeful(err error) error {
	var p *problem
	if errors.As(err, &p) {
		switch p.Status {
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
			return err
		}
		return &tempFail{p.Error()}
	}
	var u *url.Error
	if errors.As(err, &u) { // the rest of it quotes the address
		return &tempFail{fmt.Sprintf("call the server: %v", u.Err)}
	}
	return &tempFail{"read the server's answer: it is none"}
}
