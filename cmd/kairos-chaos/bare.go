package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// bare is a server that does the least a durable answer takes. Visited beside
// the collectors it tells what the machine itself costs at that time.
func (t *trial) bare() (url string) {
	file, err := os.Create(filepath.Join(t.dir, "bare"))
	t.check(err)
	ln, err := (&net.ListenConfig{}).Listen(t.ctx, "tcp", "127.0.0.1:0")
	t.check(err)
	var lock sync.Mutex
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		lock.Lock()
		defer lock.Unlock()
		_, err := fmt.Fprintln(file, strings.Repeat("x", 200))
		if err == nil {
			err = file.Sync()
		}
		w.WriteHeader(map[bool]int{true: http.StatusFound, false: http.StatusInternalServerError}[err == nil])
	})}
	go func() { _ = s.Serve(ln) }() // ends with Close
	t.closing(func() error {
		_ = file.Close()
		return s.Close()
	})
	return "http://" + ln.Addr().String()
}
