package deliverytest_test

import (
	"bufio"
	"bytes"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

// BenchmarkSink is the sink's own ceiling: 32 clients that write a message and
// the next transaction's commands at once and read four replies, 6 KB each.
func BenchmarkSink(b *testing.B) {
	s, err := deliverytest.NewSMTPSink(deliverytest.SinkOptions{})
	require.NoError(b, err)
	defer func() { _ = s.Close() }()
	body := strings.Repeat(strings.Repeat("x", 74)+"\r\n", 80) + ".\r\n"
	const clients = 32
	each := b.N/clients + 1
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				b.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			r := bufio.NewReader(conn)
			var out []byte
			for i := range each + 1 {
				out = out[:0]
				if i > 0 {
					out = append(out, body...)
				}
				if i < each {
					out = append(out, "MAIL FROM:<a@example.com>\r\nRCPT TO:<"...)
					out = strconv.AppendInt(out, int64(c*each+i), 10)
					out = append(out, "@example.com>\r\nDATA\r\n"...)
				}
				if _, err := conn.Write(out); err != nil {
					b.Error(err)
					return
				}
				want := []byte("354 ")
				if i == each {
					want = []byte("250 2.0.0 ok: queued")
				}
				for {
					line, err := r.ReadSlice('\n')
					if err != nil {
						b.Error(err)
						return
					}
					if bytes.HasPrefix(line, want) {
						break
					}
				}
			}
		}()
	}
	wg.Wait()
	b.StopTimer()
	require.Equal(b, clients*each, s.Total())
	b.ReportMetric(float64(clients*each)/b.Elapsed().Seconds(), "msg/s")
}
