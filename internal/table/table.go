// Package table writes rows as a table for other programs: CSV for spreadsheets
// and Parquet for lakes and engines such as DuckDB, Spark or ClickHouse.
//
// Takes: a slice of structs whose exported fields are the columns, in their
// order, named by the first word of the field's `parquet` tag.
// Gives: one file with a header or a schema.
// Owns: nothing; it writes to the caller's writer.
// Promises: a cell never begins a formula when a spreadsheet opens it; amounts
// are exact (DECIMAL with six places), times UTC (TIMESTAMP in microseconds),
// what isn't there is an empty cell, or null.
// Fails: with the writer's error.
package table

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

// Form is how a table is written.
type Form string

// The forms.
const (
	CSV     Form = "csv"
	Parquet Form = "parquet"
)

// MediaType is the form's Content-Type.
func (f Form) MediaType() string {
	if f == Parquet {
		return "application/vnd.apache.parquet"
	}
	return "text/csv; charset=utf-8"
}

// Write writes rows in a form, as a whole table.
func Write[T any](w io.Writer, form Form, rows []T) error {
	out, err := NewWriter[T](w, form)
	if err != nil {
		return err
	}
	if err := out.Write(rows); err != nil {
		return err
	}
	return out.Close()
}

// Writer writes a table piece by piece, in memory bounded by a piece or, of
// Parquet, by a row group. For one goroutine.
type Writer[T any] struct {
	parquet *parquet.GenericWriter[T]
	csv     *csv.Writer
	fields  []reflect.StructField
	cells   []string
}

// groupRows bounds a row group of Parquet, which is held in memory.
const groupRows = 100_000

// NewWriter begins a table of T, a struct. A column's type is string, int,
// int64, float64, bool, time.Time, json.RawMessage, one with a String method,
// or a pointer to one of these for what may be missing.
func NewWriter[T any](w io.Writer, form Form) (*Writer[T], error) {
	out := &Writer[T]{}
	switch form {
	case Parquet:
		out.parquet = parquet.NewGenericWriter[T](w, parquet.Compression(&parquet.Snappy), parquet.CreatedBy("kairos", "", ""),
			parquet.MaxRowsPerRowGroup(groupRows))
		return out, nil
	case CSV:
		out.csv = csv.NewWriter(w)
	default:
		return nil, fmt.Errorf("write table: unknown form %q", form)
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if name, _, _ := strings.Cut(f.Tag.Get("parquet"), ","); name != "" && f.IsExported() {
			out.fields, out.cells = append(out.fields, f), append(out.cells, name)
		}
	}
	if err := out.csv.Write(out.cells); err != nil {
		return nil, fmt.Errorf("write table: %w", err)
	}
	return out, nil
}

// Write adds rows.
func (w *Writer[T]) Write(rows []T) error {
	if w.parquet != nil {
		if _, err := w.parquet.Write(rows); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
		return nil
	}
	for i := range rows {
		row := reflect.ValueOf(&rows[i]).Elem()
		for n, f := range w.fields {
			w.cells[n] = safe(text(row.FieldByIndex(f.Index)))
		}
		if err := w.csv.Write(w.cells); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
	}
	w.csv.Flush()
	if err := w.csv.Error(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// Close ends the table; it leaves the underlying writer open. CSV is whole
// after each Write, Parquet only now.
func (w *Writer[T]) Close() error {
	if w.parquet == nil {
		w.csv.Flush()
		return w.csv.Error()
	}
	if err := w.parquet.Close(); err != nil {
		return fmt.Errorf("end table: %w", err)
	}
	return nil
}

// text is a value as a cell shows it.
func text(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case time.Time:
		return x.UTC().Format(time.RFC3339Nano)
	case json.RawMessage:
		return string(x)
	case fmt.Stringer:
		return x.String()
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	default:
		return fmt.Sprint(x)
	}
}

// safe makes text safe for spreadsheets, which would read a formula in what
// begins with = + - @ tab or CR: an apostrophe goes in front. Plain decimal
// numbers stay numbers.
func safe(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return s
	}
	if s[0] == '-' && len(s) > 1 && strings.Trim(s[1:], "0123456789.") == "" {
		return s
	}
	return "'" + s
}
