package track

import "strings"

// Serves reports whether a path belongs to the collector.
func Serves(path string) bool {
	return len(path) > 2 && path[0] == '/' && path[2] == '/' && strings.IndexByte("ocut", path[1]) >= 0 || path == "/k.js"
}
