package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mutation replaces a piece of a source file, or adds a file. A piece that
// doesn't occur exactly once is an error: the source has moved on.
type mutation struct {
	file     string // in the module
	from, to string // from "": the file is new and this is all of it
}

// writeOverlay makes mutated copies in dir and returns the file for
// go build -overlay. Several mutations of one file add up.
func writeOverlay(dir string, mutations ...mutation) (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "kairos").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	root := strings.TrimSpace(string(out))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	texts := map[string]string{}
	for _, m := range mutations {
		text, ok := texts[m.file]
		if m.from == "" {
			texts[m.file] = m.to
			continue
		}
		if !ok {
			raw, err := os.ReadFile(filepath.Join(root, m.file))
			if err != nil {
				return "", fmt.Errorf("mutate: %w", err)
			}
			text = string(raw)
		}
		if n := strings.Count(text, m.from); n != 1 {
			return "", fmt.Errorf("mutate %s: %q occurs %d times: adapt the mutation", m.file, m.from, n)
		}
		texts[m.file] = strings.Replace(text, m.from, m.to, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		to := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		replace[filepath.Join(root, file)] = to
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("write mutant: %w", err)
		}
	}
	raw, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, raw, 0o600)
}
