package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"

	"kairos"
	"kairos/internal/token"
)

// inMessage checks that a message holds the links that the bench mints for it:
// the measured clicks are those of real messages.
func (w *world) inMessage(ctx context.Context, ring *token.Keyring, raw []byte) error {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	text, _, _ := strings.Cut(strings.Trim(m.Header.Get("Message-Id"), "<>"), "@")
	id, err := kairos.ParseID(text)
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		return fmt.Errorf("a message is %q, not multipart/alternative: %w", kind, err)
	}
	var body strings.Builder
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			_, err = io.Copy(&body, p)
		}
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
	}
	return w.holdsLinks(ctx, ring, id, body.String())
}

// holdsLinks checks the text and HTML of a notification's message.
func (w *world) holdsLinks(ctx context.Context, ring *token.Keyring, id kairos.ID, body string) error {
	var campaign kairos.ID
	if err := w.pool.QueryRow(ctx, `SELECT campaign FROM notifications WHERE id = $1`, id).Scan(&campaign); err != nil {
		return fmt.Errorf("find notification of message: %w", err)
	}
	for i, d := range destinations {
		link := w.api.Server + "/c/" + ring.Mint(token.Claims{Purpose: token.PurposeClick, Campaign: campaign, Notification: id, Link: uint16(i + 1), Destination: d})
		if n := strings.Count(body, link); n != 2 {
			return fmt.Errorf("message %s has its link %d %d times, not in both parts", id, i+1, n)
		}
	}
	if !strings.Contains(body, w.api.Server+"/o/") {
		return fmt.Errorf("message %s has no pixel", id)
	}
	return nil
}
