package kairos

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// law says which of our own packages a package may import. The stages never
// import each other: they meet in tasks, tables and events. A key that ends in
// "/*" stands for the folders below it.
var law = map[string][]string{
	".":                     {},
	"dto":                   {"."},
	"dto/sim":               {".", "dto"},
	"migrations":            {},
	"internal/batch":        {"."},
	"internal/content":      {"."},
	"internal/devstack":     {".", "migrations", "internal/pg", "internal/rig"},
	"internal/eventlog":     {"."},
	"internal/instructions": {},
	"internal/outbound":     {"."},
	"internal/pg":           {"."},
	"internal/queue":        {".", "internal/batch", "internal/pg"},
	"internal/rig":          {},
	"internal/spool":        {"."},
	"internal/table":        {},
	"internal/token":        {"."},
	"creation":              {".", "internal/batch", "internal/content", "internal/eventlog", "internal/pg"},
	"orchestration":         {".", "dto", "internal/batch", "internal/eventlog", "internal/pg"},
	"delivery":              {".", "internal/batch", "internal/content", "internal/eventlog", "internal/pg", "internal/token"},
	"delivery/deliverytest": {".", "delivery", "delivery/email", "internal/content"},
	"delivery/email":        {".", "delivery", "internal/content"},
	"delivery/*":            {".", "delivery", "delivery/email", "internal/content"},
	"analysis":              {".", "dto", "internal/batch", "internal/eventlog", "internal/outbound", "internal/pg", "internal/spool", "internal/table"},
	"analysis/timing":       {".", "dto", "internal/batch", "internal/eventlog", "internal/pg"},
	"api/track":             {".", "internal/spool", "internal/token"},
	"api/dashboard":         {".", "dto", "creation", "delivery", "analysis", "analysis/timing", "internal/devstack", "internal/table"},
	"api":                   {".", "creation", "orchestration", "delivery", "analysis", "analysis/timing", "api/track", "api/dashboard", "internal/pg", "internal/table"},
	"cmd/kairos":            {"*"},
	"cmd/kairos-bench":      {"*"},
	"cmd/kairos-chaos":      {"*"},
}

func allowed(pkg string) (list []string, ok bool) {
	if list, ok = law[pkg]; ok {
		return list, true
	}
	list, ok = law[filepath.ToSlash(filepath.Dir(pkg))+"/*"]
	return list, ok
}

func TestImportLaw(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "docs" || name == "deploy") {
			return filepath.SkipDir
		}
		p, err := build.ImportDir(path, 0)
		if err != nil {
			return nil //nolint:nilerr // a folder without Go files is none of the law's business
		}
		seen++
		pkg := filepath.ToSlash(path)
		list, ok := allowed(pkg)
		require.True(t, ok, "%s is not in the import law: say what it may import", pkg)
		if slices.Contains(list, "*") {
			return nil
		}
		for _, imported := range p.Imports {
			if imported != "kairos" && !strings.HasPrefix(imported, "kairos/") {
				if pkg == "." {
					require.NotContains(t, strings.Split(imported, "/")[0], ".", "the root package is stdlib only: %s", imported)
				}
				continue
			}
			ours := strings.TrimPrefix(strings.TrimPrefix(imported, "kairos"), "/")
			if ours == "" {
				ours = "."
			}
			require.Contains(t, list, ours, "%s imports %s", pkg, imported)
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, seen, 12)
}

// Only the queue knows asynq: Redis is a doorbell, not a part of the pipeline.
func TestOnlyTheQueueImportsAsynq(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		p, err := build.ImportDir(path, 0)
		if err != nil {
			return nil //nolint:nilerr // no Go files
		}
		if filepath.ToSlash(path) != "internal/queue" {
			require.NotContains(t, p.Imports, "github.com/hibiken/asynq", path)
		}
		return nil
	})
	require.NoError(t, err)
}
