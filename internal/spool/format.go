package spool

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"time"

	"kairos"
)

// Version 1 of the format. All numbers are little endian.
//
//	header  magic 8 | version u32 | salt u64 | begun i64 (Unix ns) | crc32c u32   twice
//	record  len u32 | crc32c u32 | event id 16 | payload of len bytes
//
// A record's checksum runs over len, event id and payload, and starts from the
// checksum of the salt.
const (
	magic     = "KAIROSPL"
	version   = 1
	copyLen   = 8 + 4 + 8 + 8 + 4 // one copy of the header
	headerLen = 2 * copyLen
	recordLen = 4 + 4 + 16 // a record without its payload

	// MaxPayload is the longest payload in bytes.
	MaxPayload = 1 << 20
)

// castagnoli is the polynomial of RFC 3720, which processors know.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	salt  uint64
	begun time.Time // machine time
}

func newSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails on a supported platform
	return binary.LittleEndian.Uint64(b[:])
}

func seedOf(salt uint64) uint32 {
	return crc32.Checksum(binary.LittleEndian.AppendUint64(nil, salt), castagnoli)
}

func appendHeader(dst []byte, h header) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, version)
	dst = binary.LittleEndian.AppendUint64(dst, h.salt)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.begun.UnixNano()))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	return append(dst, dst[start:]...)
}

// parseHeader reads a header from its first whole copy.
func parseHeader(b []byte) (header, bool) {
	for ; len(b) >= copyLen; b = b[copyLen:] {
		sum := binary.LittleEndian.Uint32(b[copyLen-4:])
		if !bytes.HasPrefix(b, []byte(magic)) || binary.LittleEndian.Uint32(b[8:]) != version ||
			crc32.Checksum(b[:copyLen-4], castagnoli) != sum {
			continue
		}
		return header{
			salt:  binary.LittleEndian.Uint64(b[12:]),
			begun: time.Unix(0, int64(binary.LittleEndian.Uint64(b[20:]))),
		}, true
	}
	return header{}, false
}

func appendRecord(dst []byte, seed uint32, id kairos.ID, payload []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, id[:]...)
	dst = append(dst, payload...)
	binary.LittleEndian.PutUint32(dst[start+4:], recordSum(seed, dst[start:]))
	return dst
}

// recordSum is the checksum of a whole record; its place for the checksum is skipped.
func recordSum(seed uint32, rec []byte) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, rec[:4]), castagnoli, rec[8:])
}
