package api

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// unencodable is what pgx says of a value that doesn't fit its column; it
// quotes the value.
var unencodable = regexp.MustCompile(`(?s)unable to encode .* into (text|binary) format`)

// told is an error's text as the log may have it: without the values that
// Postgres (data exceptions, exceptions of functions) and its driver quote.
func told(err error) string {
	text := err.Error()
	var server *pgconn.PgError
	if errors.As(err, &server) && (strings.HasPrefix(server.Code, "22") || strings.HasPrefix(server.Code, "P0")) {
		text = strings.ReplaceAll(text, server.Message, strings.TrimSpace("(message withheld) "+server.TableName+" "+server.ColumnName))
	}
	return unencodable.ReplaceAllString(text, "unable to encode a value into $1 format")
}

// panicText is what the log may have of a panic's value: the runtime's own
// words, otherwise its type. A text that somebody made may hold input.
func panicText(value any) string {
	if err, ok := value.(runtime.Error); ok {
		return "panic: " + err.Error()
	}
	return fmt.Sprintf("panic: a %T, withheld", value)
}
