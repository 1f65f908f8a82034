package dashboard

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"

	"kairos"
	"kairos/internal/table"
)

// export answers with a campaign's report as a file: funnel.csv, roi.parquet.
func (d *dashboard) export(w http.ResponseWriter, r *http.Request) {
	name, form, _ := strings.Cut(r.PathValue("file"), ".")
	id, err := idOf(r)
	var b bytes.Buffer
	if err == nil {
		err = d.writeExport(&b, r, id, name, table.Form(form))
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", table.Form(form).MediaType())
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s.%s"`, name, id, form))
	_, _ = w.Write(b.Bytes()) // a visitor who left needs no answer
}

func (d *dashboard) writeExport(w io.Writer, r *http.Request, id kairos.ID, name string, form table.Form) error {
	ctx := r.Context()
	if form != table.CSV && form != table.Parquet {
		return fmt.Errorf("find export: %w", kairos.ErrNotFound)
	}
	switch name {
	case "funnel":
		f, err := d.opts.Analysis.Funnel(ctx, id)
		if err != nil {
			return err
		}
		return table.Write(w, form, f.Rows())
	case "roi":
		report, err := d.opts.Analysis.ROI(ctx, id)
		if err != nil {
			return err
		}
		return table.Write(w, form, report.Rows())
	case "timing":
		t, err := d.opts.Analysis.Timing(ctx, id)
		if err != nil {
			return err
		}
		return table.Write(w, form, t.Rows())
	}
	return fmt.Errorf("find export: %w", kairos.ErrNotFound)
}

// exportAddress is where a campaign's report is to be had as a file.
func exportAddress(id kairos.ID, name string, form table.Form) string {
	return fmt.Sprintf("/dashboard/campaigns/%s/%s.%s", id, name, form)
}
