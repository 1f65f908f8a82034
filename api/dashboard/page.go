package dashboard

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"github.com/a-h/templ"

	"kairos"
)

// content is what a page's handler found out; page puts the frame around it.
type content struct {
	title   string
	section string // of the navigation
	body    templ.Component
}

// frame is what every page shows around its content.
type frame struct {
	title   string
	section string
	who     string // "" when the dashboard is open
	signed  bool   // somebody can sign out
	inbox   bool
	timing  bool
	files   *files
}

func (d *dashboard) frame(r *http.Request, title, section string) frame {
	who := d.visitor(r)
	return frame{
		title: title, section: section, who: who, signed: who != "",
		inbox: d.opts.Mail != nil, timing: d.registry != nil, files: d.files,
	}
}

func (d *dashboard) page(find func(r *http.Request) (content, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := find(r)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		d.write(w, r, http.StatusOK, layout(d.frame(r, c.title, c.section), c.body))
	}
}

// write renders the whole before it sends the first byte.
func (d *dashboard) write(w http.ResponseWriter, r *http.Request, status int, c templ.Component) {
	var b bytes.Buffer
	if err := c.Render(r.Context(), &b); err != nil {
		d.opts.Log.ErrorContext(r.Context(), "render page", "path", r.URL.Path, "error", err)
		http.Error(w, "This page can't be shown.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a visitor who left needs no answer
}

// fail turns an error into a page.
func (d *dashboard) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.status >= 500 {
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			return // the visitor left
		}
		d.opts.Log.ErrorContext(r.Context(), "answer page", "path", r.URL.Path, "error", err)
	}
	d.write(w, r, p.status, layout(d.frame(r, p.title, ""), problemPage(p)))
}

// problem is an error as a visitor sees it.
type problem struct {
	status int
	title  string
	text   string
}

func problemOf(err error) problem {
	var field *kairos.FieldError
	switch {
	case errors.Is(err, kairos.ErrNotFound):
		return problem{http.StatusNotFound, "Not found", "There is nothing at this address. It may have been mistyped, or what it named is no longer kept."}
	case errors.Is(err, kairos.ErrForbidden):
		return problem{http.StatusForbidden, "Not with this key", "The key you signed in with may look, but not do this. Nothing was changed."}
	case errors.Is(err, kairos.ErrConflict):
		return problem{http.StatusConflict, "That is no longer possible", "The campaign has moved on since the page was shown, and its state doesn't allow this step. Nothing was changed."}
	case errors.As(err, &field):
		return problem{http.StatusBadRequest, "That can't be read", "The address says something that makes no sense here: " + field.Error() + "."}
	case errors.Is(err, kairos.ErrUnavailable):
		return problem{http.StatusServiceUnavailable, "Not at the moment", "This can't be answered right now. Try again in a moment."}
	case errors.Is(err, kairos.ErrForbidden):
		return problem{http.StatusForbidden, "Refused", "The request came from another site, so nothing was done. Open the dashboard itself and try there."}
	}
	return problem{http.StatusInternalServerError, "Something went wrong", "The page could not be made. It has been logged; try again in a moment."}
}
