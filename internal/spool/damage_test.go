package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

// segmentOf returns a segment's bytes with records 0 to n-1 and where each ends.
func segmentOf(n int) (raw []byte, ends []int) {
	raw = appendHeader(nil, header{salt: 0x1234567890abcdef, begun: time.Unix(1_700_000_000, 0)})
	ends = append(ends, len(raw))
	for i := range n {
		raw = appendRecord(raw, seedOf(0x1234567890abcdef), nth(i), payloadOf(nth(i)))
		ends = append(ends, len(raw))
	}
	return raw, ends
}

func openWith(t testing.TB, suffix string, raw []byte) *Spool {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(7, suffix)), raw, 0o600))
	return open(t, Options{Dir: dir, MaxAge: time.Hour})
}

// The bytes on disk are those of version 1, written out by hand.
func TestFormat(t *testing.T) {
	raw := appendHeader(nil, header{salt: 0x0807060504030201, begun: time.Unix(0, 1)})
	raw = appendRecord(raw, seedOf(0x0807060504030201), kairos.MustID("00112233-4455-6677-8899-aabbccddeeff"), []byte("hi"))
	one := "KAIROSPL" + "\x01\x00\x00\x00" + "\x01\x02\x03\x04\x05\x06\x07\x08" + "\x01\x00\x00\x00\x00\x00\x00\x00" + "HDRS"
	require.Len(t, raw, 2*len(one)+26)
	require.Equal(t, one[:28], string(raw[:28]))
	require.Equal(t, raw[:32], raw[32:64])
	require.Equal(t, "\x02\x00\x00\x00", string(raw[64:68]))
	require.Equal(t, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xffhi", string(raw[72:]))
}

// A segment of version 1 that an older program left stays readable for ever.
// The file is never made anew.
func TestGoldenSegment(t *testing.T) {
	raw, _ := segmentOf(5)
	golden, err := os.ReadFile("testdata/segment_v1.seg")
	require.NoError(t, err)
	require.Equal(t, golden, raw, "version 1 has changed")
	requireExactly(t, drain(t, openWith(t, sealedSuffix, golden)), 0, 5)
}

func TestTornTailAtEveryOffset(t *testing.T) {
	raw, ends := segmentOf(3)
	for cut := ends[2]; cut <= ends[3]; cut++ {
		for name, tail := range map[string][]byte{
			"cut":     nil,
			"zeros":   make([]byte, ends[3]-cut),
			"garbage": bytes.Repeat([]byte{0xa5, 0, 0, 1}, 20),
		} {
			want := 2
			if cut == ends[3] {
				want = 3
			}
			s := openWith(t, openSuffix, append(slices.Clone(raw[:cut]), tail...))
			add(t, s, 3, 5) // goes on after the damage
			got := drain(t, s)
			if name == "zeros" && got[nth(2)] == 1 {
				want = 3 // the cut bytes were zeros themselves
				require.Equal(t, make([]byte, ends[3]-cut), raw[cut:ends[3]])
			}
			delete(got, nth(3))
			delete(got, nth(4))
			requireExactly(t, got, 0, want)
			require.Zero(t, s.Stats().Quarantined, "%s at %d", name, cut)
			require.NoError(t, s.Close())
		}
	}
}

func TestTornAtBirth(t *testing.T) {
	raw, _ := segmentOf(1)
	for n := range headerLen + 1 {
		s := openWith(t, openSuffix, raw[:n])
		require.Zero(t, s.Stats().Segments)
		require.Empty(t, files(t, s.opts.Dir, "0*"))
		require.Zero(t, s.Stats().Quarantined)
	}
	s := openWith(t, openSuffix, make([]byte, 100_000))
	require.Empty(t, files(t, s.opts.Dir, "0*"))
	require.Zero(t, s.Stats().Quarantined)
}

// A torn tail that cannot be cut off is passed over all the same.
func TestTornTailThatCannotBeCut(t *testing.T) {
	raw, ends := segmentOf(3)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(7, openSuffix)), raw[:ends[3]-1], 0o600))
	var f faults
	f.set(OpCut, syscall.EROFS)
	s := open(t, Options{Dir: dir, Fault: f.hook})
	requireBytes(t, s)
	requireExactly(t, drain(t, s), 0, 2)
	require.Zero(t, s.Stats().Quarantined)
}

// Whichever one byte of a sealed segment is flipped: at most the record that
// holds it is lost, its bytes are in quarantine, the others come out.
func TestFlippedByteAnywhere(t *testing.T) {
	const n = 3
	raw, ends := segmentOf(n)
	for _, suffix := range []string{sealedSuffix, openSuffix} {
		last := len(raw)
		if suffix == openSuffix {
			last = ends[n-1] // beyond, it is a torn tail
		}
		for at := range last {
			flipped := slices.Clone(raw)
			flipped[at] ^= 0x41
			s := openWith(t, suffix, flipped)
			got := drain(t, s)
			if at < headerLen {
				requireExactly(t, got, 0, n)
				require.NoError(t, s.Close())
				continue
			}
			hit, _ := slices.BinarySearch(ends, at+1)
			hit-- // the record that ends at ends[hit+1]
			require.Zero(t, got[nth(hit)])
			got[nth(hit)] = 1
			requireExactly(t, got, 0, n)
			require.EqualValues(t, 1, s.Stats().Quarantined)
			kept := files(t, s.opts.Dir, "quarantine/*.bad")
			require.Len(t, kept, 1)
			b, err := os.ReadFile(kept[0])
			require.NoError(t, err)
			require.Equal(t, flipped[ends[hit]:ends[hit+1]], b)
			require.NoError(t, s.Close())
		}
	}
}

func TestUnreadableHeaderSetsTheFileAside(t *testing.T) {
	raw, _ := segmentOf(3)
	raw[3] ^= 1
	raw[copyLen+3] ^= 1
	for _, suffix := range []string{sealedSuffix, openSuffix} {
		s := openWith(t, suffix, raw)
		require.Empty(t, drain(t, s))
		require.EqualValues(t, 1, s.Stats().Quarantined)
		b, err := os.ReadFile(filepath.Join(s.opts.Dir, "quarantine", segmentName(7, suffix)))
		require.NoError(t, err)
		require.Equal(t, raw, b)
		add(t, s, 0, 2)
		requireExactly(t, drain(t, s), 0, 2)
		require.NoError(t, s.Close())
		s = open(t, Options{Dir: s.opts.Dir})
		require.GreaterOrEqual(t, s.nextNumber, uint64(8), "numbers in quarantine are not used again")
	}
}

// A payload made to look like a record does not become one when the record
// around it is damaged.
func TestPayloadCannotForgeARecord(t *testing.T) {
	forged := appendRecord(nil, seedOf(99), nth(66), []byte("forged"))
	seed := seedOf(7)
	raw := appendHeader(nil, header{salt: 7, begun: time.Unix(0, 0)})
	from := len(raw)
	raw = appendRecord(raw, seed, nth(0), bytes.Repeat(forged, 50))
	raw = appendRecord(raw, seed, nth(1), payloadOf(nth(1)))
	raw[from] ^= 0x10 // its length is wrong now
	s := openWith(t, sealedSuffix, raw)
	requireExactly(t, drain(t, s), 1, 2)
}

// Payloads full of plausible lengths cannot make the search endless. Without
// its bound this takes minutes; with it, about a second.
func TestResyncIsBounded(t *testing.T) {
	const damaged = 16
	seed := seedOf(7)
	raw := appendHeader(nil, header{salt: 7, begun: time.Unix(0, 0)})
	long := bytes.Repeat([]byte{0, 0, 8, 0}, MaxPayload/4)
	for n := range damaged {
		from := len(raw)
		raw = appendRecord(raw, seed, nth(n), long)
		raw[from+recordLen+100] ^= 1
		raw = appendRecord(raw, seed, nth(100+n), payloadOf(nth(100+n)))
	}
	raw = append(raw, appendRecord(nil, seed, nth(200), long)...)
	s := openWith(t, sealedSuffix, raw)
	seg, err := s.Next(t.Context())
	require.NoError(t, err)
	began, n := time.Now(), 0
	require.NoError(t, seg.Records(func(id kairos.ID, _ []byte) error {
		if n < damaged {
			require.Equal(t, nth(100+n), id)
		} else {
			require.Equal(t, nth(200), id)
		}
		n++
		return nil
	}))
	require.Equal(t, damaged+1, n)
	require.Less(t, time.Since(began), 30*time.Second)
}

// Reading a damaged segment several times leaves one copy in quarantine.
func TestQuarantineOnce(t *testing.T) {
	raw, ends := segmentOf(4)
	raw[ends[1]+30] ^= 1
	raw[ends[3]+30] ^= 1
	s := openWith(t, sealedSuffix, raw)
	for range 3 {
		seg, err := s.Next(t.Context())
		require.NoError(t, err)
		require.NoError(t, seg.Records(func(kairos.ID, []byte) error { return nil }))
	}
	require.EqualValues(t, 2, s.Stats().Quarantined)
	require.Len(t, files(t, s.opts.Dir, "quarantine/*"), 2)
}

// Any damage at all: what comes out was put in, and everything outside the
// damaged records comes out.
func TestAnyDamage(t *testing.T) {
	const n = 30
	raw, ends := segmentOf(n)
	rapid.Check(t, func(rt *rapid.T) {
		from := rapid.IntRange(headerLen, len(raw)-1).Draw(rt, "from")
		junk := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(rt, "junk")
		damaged := slices.Clone(raw)
		to := from + copy(damaged[from:], junk)

		got := map[kairos.ID]bool{}
		sc := &scanner{r: bytes.NewReader(damaged), size: int64(len(damaged)), seed: seedOf(0x1234567890abcdef)}
		err := sc.scan(func(_ int64, id kairos.ID, p []byte) error {
			require.Equal(rt, payloadOf(id), p)
			require.False(rt, got[id])
			got[id] = true
			return nil
		}, func(int64, int64) error { return nil })
		require.NoError(rt, err)
		for i := range n {
			if ends[i+1] <= from || ends[i] >= to {
				require.True(rt, got[nth(i)], "record %d lies outside the damage", i)
			}
			delete(got, nth(i))
		}
		require.Empty(rt, got)
	})
}

func FuzzReadSegment(f *testing.F) {
	raw, ends := segmentOf(4)
	f.Add(raw)
	f.Add(raw[:ends[2]+5])
	f.Add(raw[:headerLen])
	f.Add(append(slices.Clone(raw[:ends[1]]), raw[ends[2]:]...))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		seed := seedOf(0)
		if h, ok := parseHeader(raw[:min(len(raw), headerLen)]); ok {
			seed = seedOf(h.salt)
		}
		// Each byte is handed out once: in a record or in a damaged stretch.
		seen := min(headerLen, len(raw))
		sc := &scanner{r: bytes.NewReader(raw), size: int64(len(raw)), seed: seed}
		err := sc.scan(func(end int64, id kairos.ID, p []byte) error {
			again := appendRecord(nil, seed, id, p)
			require.Equal(t, raw[seen:end], again)
			seen = int(end)
			return nil
		}, func(from, to int64) error {
			require.EqualValues(t, seen, from)
			require.Greater(t, to, from)
			seen = int(to)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, len(raw), seen)
	})
}
