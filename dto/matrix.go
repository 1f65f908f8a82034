package dto

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"gonum.org/v1/gonum/blas/blas32"

	"kairos"
)

// Matrix is a row-major table of float32, people by slots: Data[u*Stride+s].
type Matrix = blas32.General

// NewMatrix returns a rows x cols matrix of zeros.
func NewMatrix(rows, cols int) Matrix {
	return Matrix{Rows: rows, Cols: cols, Stride: cols, Data: make([]float32, rows*cols)}
}

// MaxSlots is the largest number of slots a [Mask] can name.
const MaxSlots = 64

// Mask is a set of slots: bit s is slot s.
type Mask uint64

// AllSlots returns the mask of slots 0..s-1.
func AllSlots(s int) Mask {
	if s >= MaxSlots {
		return math.MaxUint64
	}
	return 1<<s - 1
}

// Has reports whether the slot is in the set.
func (m Mask) Has(slot int) bool { return slot >= 0 && slot < MaxSlots && m>>slot&1 == 1 }

// With returns the set with the slot added.
func (m Mask) With(slot int) Mask {
	if slot < 0 || slot >= MaxSlots {
		return m
	}
	return m | 1<<slot
}

func row(m Matrix, u int) []float32 { return m.Data[u*m.Stride : u*m.Stride+m.Cols] }

// checkShape refuses matrices whose data do not match their shape.
func checkShape(field string, m Matrix) error {
	switch {
	case m.Rows < 1 || m.Cols < 2:
		return kairos.Invalid(field, "must have at least one row and two columns, has %d x %d", m.Rows, m.Cols)
	case m.Stride != m.Cols || len(m.Data) != m.Rows*m.Cols:
		return kairos.Invalid(field, "must be contiguous: %d x %d, stride %d, %d values", m.Rows, m.Cols, m.Stride, len(m.Data))
	}
	return nil
}

func sameShape(field string, a, b Matrix) error {
	if err := checkShape(field, b); err != nil {
		return err
	}
	if a.Rows != b.Rows || a.Cols != b.Cols {
		return kairos.Invalid(field, "must be %d x %d, is %d x %d", a.Rows, a.Cols, b.Rows, b.Cols)
	}
	return nil
}

// checkValues refuses negative, infinite and undefined values; the answer is
// the index of the first one, or -1.
func checkValues(x []float32) int {
	bad := [chunks]int{}
	each(len(x), func(c, lo, hi int) {
		bad[c] = -1
		for i, v := range x[lo:hi] {
			if !(v >= 0 && v <= math.MaxFloat32) {
				bad[c] = lo + i
				return
			}
		}
	})
	if len(x) == 0 {
		return -1
	}
	for _, b := range bad {
		if b >= 0 {
			return b
		}
	}
	return -1
}

// chunks is the fixed number of pieces all work on people is cut into. Each
// piece has its own accumulator and these are added in order, so that a result
// never depends on how many cores took part.
const chunks = 64

// each calls f once for each of the chunks of 0..n-1 (some may be empty), on as
// many goroutines as there are cores; short loops run on the caller's.
func each(n int, f func(chunk, lo, hi int)) {
	size := (n + chunks - 1) / chunks
	run := func(c int) { f(c, min(c*size, n), min((c+1)*size, n)) }
	parallel(chunks, n >= 1<<13, run)
}

// parallel calls f(0) .. f(tasks-1), on all cores when wide.
func parallel(tasks int, wide bool, f func(task int)) {
	workers := min(runtime.GOMAXPROCS(0), tasks)
	if !wide || workers < 2 {
		for t := range tasks {
			f(t)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for {
				t := int(next.Add(1)) - 1
				if t >= tasks {
					return
				}
				f(t)
			}
		})
	}
	wg.Wait()
}

// addUp adds chunk sums in order: parts holds chunks rows of len(dst).
func addUp(dst, parts []float64) {
	clear(dst)
	for c := range chunks {
		for i, v := range parts[c*len(dst) : (c+1)*len(dst)] {
			dst[i] += v
		}
	}
}
