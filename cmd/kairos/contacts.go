package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

type contactsCmd struct {
	Import contactsImportCmd `cmd:"" help:"Import a CSV or NDJSON file of any size; - reads standard input."`
}

type contactsImportCmd struct {
	client
	File   string `arg:"" help:"CSV (with a header row) or NDJSON file."`
	Format string `help:"csv or ndjson; default: by the file's ending." enum:"csv,ndjson," default:""`
}

// importState is the part of an import's answer that the command follows.
type importState struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Rows     int64  `json:"rows"`
	Created  int64  `json:"created"`
	Updated  int64  `json:"updated"`
	Rejected int64  `json:"rejected"`
	Error    string `json:"error,omitempty"`
	Errors   []struct {
		Row   int64  `json:"row"`
		Error string `json:"error"`
	} `json:"errors"`
}

// Run uploads the file and follows the import to its end.
func (c *contactsImportCmd) Run(ctx context.Context, t *terminal) error {
	file, size, err := openFile(c.File)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	contentType := "text/csv"
	ending := strings.ToLower(filepath.Ext(c.File))
	if c.Format == "ndjson" || c.Format == "" && (ending == ".ndjson" || ending == ".jsonl") {
		contentType = "application/x-ndjson"
	}
	imp, err := c.upload(ctx, t, file, size, contentType)
	if err != nil {
		return err
	}
	if imp, err = c.follow(ctx, t, imp); err != nil {
		return err
	}
	words := fmt.Sprintf("%d rows: %d created, %d updated, %d rejected", imp.Rows, imp.Created, imp.Updated, imp.Rejected)
	for i, e := range imp.Errors {
		if i == 20 {
			words += fmt.Sprintf("\n  ... %d more", imp.Rejected-20)
			break
		}
		words += fmt.Sprintf("\n  row %d: %s", e.Row, e.Error)
	}
	if err := t.print(imp, words); err != nil {
		return err
	}
	if imp.State == "failed" {
		return fmt.Errorf("import failed: %s", imp.Error)
	}
	return nil
}

func openFile(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), -1, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// upload streams the body and shows how far it is.
func (c *client) upload(ctx context.Context, t *terminal, body io.Reader, size int64, contentType string) (imp importState, err error) {
	counted := &countingReader{r: body}
	done := make(chan error, 1)
	go func() {
		done <- c.do(ctx, http.MethodPost, "/v1/contacts/import", io.Reader(counted), contentType, &imp)
	}()
	p := t.progress("uploaded bytes", size)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			p.done(counted.n.Load())
			return imp, err
		case <-tick.C:
			p.set(counted.n.Load(), size)
		}
	}
}

// follow waits for an import's end and shows its rows.
func (c *client) follow(ctx context.Context, t *terminal, imp importState) (importState, error) {
	p := t.progress("imported rows", -1)
	for imp.State == "running" {
		if err := poll(ctx, 250*time.Millisecond); err != nil {
			return imp, err
		}
		if err := c.get(ctx, "/v1/imports/"+imp.ID, &imp); err != nil {
			return imp, err
		}
		p.set(imp.Rows, -1)
	}
	p.done(imp.Rows)
	return imp, nil
}

type countingReader struct {
	r io.Reader
	n atomic.Int64
}

// Read implements io.Reader.
func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}
