package track

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/internal/spool"
	"kairos/internal/token"
)

// BenchmarkClick measures durable clicks over keep-alive connections, client
// and server in one process, and beside it a handler that only redirects: the
// ceiling of net/http and of this client on the same machine.
func BenchmarkClick(b *testing.B) {
	d := open(b, func(o *Options, _ *spool.Options) { o.Patience, o.LongPatience, o.Clock = 0, 0, nil })
	noop := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", destination)
		w.WriteHeader(http.StatusFound)
	})
	paths := make([]string, 1000)
	for i := range paths {
		paths[i] = "/c/" + d.ring.Mint(token.Claims{Purpose: token.PurposeClick, Campaign: campaign, Notification: notification, Link: uint16(i), Destination: destination})
	}
	for _, h := range []struct {
		name string
		http.Handler
	}{{"noop", noop}, {"click", d}} {
		for _, connections := range []int{64, 256} {
			b.Run(fmt.Sprintf("%s/connections=%d", h.name, connections), func(b *testing.B) {
				server := httptest.NewServer(h)
				defer server.Close()
				drive(b, server.Listener.Addr().String(), paths, connections)
			})
		}
	}
	for _, connections := range []int{64, 256} {
		b.Run(fmt.Sprintf("lane/connections=%d", connections), func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(b, err)
			l := d.Lane(ln)
			drive(b, ln.Addr().String(), paths, connections)
			require.NoError(b, l.Close())
			l.Drain(b.Context())
		})
	}
	stats := d.spool.Stats()
	b.Logf("appended %d, dropped %d, syncs %d", stats.Appended, stats.Dropped, stats.Syncs)
}

// drive sends b.N requests over some connections, one at a time on each, by a
// client that costs little: what it measures is the server.
func drive(b *testing.B, addr string, paths []string, connections int) {
	took := make([][]time.Duration, connections)
	conns := make([]net.Conn, connections)
	for i := range conns {
		c, err := net.Dial("tcp", addr)
		require.NoError(b, err)
		defer func() { _ = c.Close() }()
		conns[i] = c
	}
	requests := make([][]byte, len(paths))
	for i, p := range paths {
		requests[i] = []byte("GET " + p + " HTTP/1.1\r\nHost: go.example.com\r\nAccept: text/html\r\nAccept-Language: de,en;q=0.5\r\n" +
			"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\r\n")
	}
	b.ResetTimer()
	before := cpu(b)
	var wg sync.WaitGroup
	for g, c := range conns {
		wg.Go(func() {
			in := bufio.NewReader(c)
			for n := g; n < b.N; n += connections {
				began := time.Now()
				if _, err := c.Write(requests[n%len(requests)]); err != nil {
					b.Error(err)
					return
				}
				for first := true; ; first = false {
					line, err := in.ReadSlice('\n')
					if err != nil || first && !strings.HasPrefix(string(line), "HTTP/1.1 302") {
						b.Errorf("answer %q, %v", line, err)
						return
					}
					if len(line) == 2 {
						break // no body follows
					}
				}
				took[g] = append(took[g], time.Since(began))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-us/req")
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "req/s")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}

// cpu is the processor time that this process has used, client included; it
// stays true while other processes keep the machine busy.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkServeHTTP measures the collector's own work, without net/http: 256
// callers share each write of the disk.
func BenchmarkServeHTTP(b *testing.B) {
	d := open(b)
	for room, path := range d.paths() {
		if room != "c" && room != "o" {
			continue
		}
		b.Run(room, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(128)
			b.RunParallel(func(pb *testing.PB) {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				r.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
				w := &nowhere{h: http.Header{}}
				for pb.Next() {
					clear(w.h)
					d.ServeHTTP(w, r)
				}
			})
		})
	}
}

type nowhere struct{ h http.Header }

func (n *nowhere) Header() http.Header         { return n.h }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}
