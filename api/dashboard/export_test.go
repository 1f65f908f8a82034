package dashboard

import (
	"net/http"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
)

func TestReportsAreTakenAlong(t *testing.T) {
	w := newWorld(t, nil)
	id := w.autumn()
	at := "/dashboard/campaigns/" + id.String()
	_, page := w.get(at)
	for name, column := range map[string]string{"funnel": "step", "roi": "currency", "timing": "arm"} {
		require.Contains(t, page, at+"/"+name+".csv")
		require.Contains(t, page, at+"/"+name+".parquet")
		res, csv := w.get(at + "/" + name + ".csv")
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Equal(t, "text/csv; charset=utf-8", res.Header.Get("Content-Type"))
		require.Equal(t, `attachment; filename="`+name+"-"+id.String()+`.csv"`, res.Header.Get("Content-Disposition"))
		header, _, _ := strings.Cut(csv, "\n")
		require.Contains(t, strings.Split(header, ","), column)

		res, file := w.get(at + "/" + name + ".parquet")
		require.Equal(t, "application/vnd.apache.parquet", res.Header.Get("Content-Type"))
		f, err := parquet.OpenFile(strings.NewReader(file), int64(len(file)))
		require.NoError(t, err)
		require.EqualValues(t, strings.Count(csv, "\n")-1, f.NumRows())
	}
	for _, file := range []string{"funnel", "funnel.xlsx", "secrets.csv", ".csv"} {
		res, _ := w.get(at + "/" + file)
		require.Equal(t, http.StatusNotFound, res.StatusCode, file)
	}
}
