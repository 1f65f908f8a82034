package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"time"

	"kairos"
)

//go:embed assets
var assets embed.FS

// files are the embedded assets, served under a name that changes with their
// content so that browsers may keep them for ever.
type files struct {
	content map[string][]byte
	version map[string]string
}

func loadFiles() (*files, error) {
	f := &files{content: map[string][]byte{}, version: map[string]string{}}
	list, err := assets.ReadDir("assets")
	if err != nil {
		return nil, fmt.Errorf("list assets: %w", err)
	}
	for _, e := range list {
		b, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read asset: %w", err)
		}
		sum := sha256.Sum256(b)
		f.content[e.Name()], f.version[e.Name()] = b, hex.EncodeToString(sum[:6])
	}
	return f, nil
}

// url returns the address of an asset.
func (f *files) url(name string) string {
	return "/dashboard/assets/" + name + "?v=" + f.version[name]
}

var mediaTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func (d *dashboard) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, ok := d.files.content[name]
	if !ok {
		d.fail(w, r, fmt.Errorf("find asset: %w", kairos.ErrNotFound))
		return
	}
	media := mediaTypes[path.Ext(name)]
	if media == "" {
		media = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == d.files.version[name] {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Header().Set("ETag", `"`+d.files.version[name]+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}
