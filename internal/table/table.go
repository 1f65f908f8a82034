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

// Write writes rows in a form. A column's type is string, int, int64, float64,
// bool, time.Time, json.RawMessage, one with a String method, or a pointer to
// one of these for what may be missing.
func Write[T any](w io.Writer, form Form, rows []T) error {
	var err error
	switch form {
	case CSV:
		err = writeCSV(w, rows)
	case Parquet:
		err = writeParquet(w, rows)
	default:
		err = fmt.Errorf("unknown form %q", form)
	}
	if err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

func writeParquet[T any](w io.Writer, rows []T) error {
	pw := parquet.NewGenericWriter[T](w, parquet.Compression(&parquet.Snappy), parquet.CreatedBy("kairos", "", ""))
	if _, err := pw.Write(rows); err != nil {
		return err
	}
	return pw.Close()
}

func writeCSV[T any](w io.Writer, rows []T) error {
	var fields []reflect.StructField
	var cells []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if name, _, _ := strings.Cut(f.Tag.Get("parquet"), ","); name != "" && f.IsExported() {
			fields, cells = append(fields, f), append(cells, name)
		}
	}
	out := csv.NewWriter(w)
	if err := out.Write(cells); err != nil {
		return err
	}
	for i := range rows {
		row := reflect.ValueOf(&rows[i]).Elem()
		for n, f := range fields {
			cells[n] = safe(text(row.FieldByIndex(f.Index)))
		}
		if err := out.Write(cells); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
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
