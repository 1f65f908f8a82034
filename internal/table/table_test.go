package table_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/table"
)

type common struct {
	Takings kairos.Amount   `parquet:"takings,decimal(6:18)"`
	Lift    *float64        `parquet:"lift"`
	Cost    *kairos.Amount  `parquet:"cost,decimal(6:18)"`
	Sound   *bool           `parquet:"sound"`
	Data    json.RawMessage `parquet:"data,json,optional"`
}

type line struct {
	Name string     `parquet:"name"`
	At   time.Time  `parquet:"at,timestamp(microsecond)"`
	End  *time.Time `parquet:"end,timestamp(microsecond)"`
	N    int64      `parquet:"n"`
	common
}

func lines(t *testing.T) []line {
	at := time.Date(2026, 3, 2, 12, 0, 0, 123_000, time.FixedZone("", 3600))
	amount, err := kairos.ParseAmount("-12.5")
	require.NoError(t, err)
	lift, sound := -0.25, true
	return []line{
		{Name: "=SUM(A1)", At: at, End: &at, N: 3, common: common{Takings: amount, Lift: &lift, Cost: &amount, Sound: &sound, Data: json.RawMessage(`{"a":1}`)}},
		{Name: "plain", At: at},
	}
}

func TestCSV(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, table.Write(&b, table.CSV, lines(t)))
	require.Equal(t, `name,at,end,n,takings,lift,cost,sound,data
'=SUM(A1),2026-03-02T11:00:00.000123Z,2026-03-02T11:00:00.000123Z,3,-12.50,-0.25,-12.50,true,"{""a"":1}"
plain,2026-03-02T11:00:00.000123Z,,0,0.00,,,,
`, b.String())
}

func TestCSVNeutralisesFormulas(t *testing.T) {
	type row struct {
		Cell string `parquet:"cell"`
	}
	for in, want := range map[string]string{"=1": "'=1", "+1": "'+1", "@a": "'@a", "-a": "'-a", "-1.5": "-1.5", "-": "'-", "\tx": "'\tx", "a=b": "a=b"} {
		var b bytes.Buffer
		require.NoError(t, table.Write(&b, table.CSV, []row{{in}}))
		require.Equal(t, "cell\n"+want+"\n", b.String(), "%q", in)
	}
}

func TestParquetIsReadBack(t *testing.T) {
	var b bytes.Buffer
	want := lines(t)
	require.NoError(t, table.Write(&b, table.Parquet, want))
	f, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()))
	require.NoError(t, err)
	var columns []string
	for _, c := range f.Schema().Fields() {
		_, kind, _ := strings.Cut(c.String(), ": ")
		columns = append(columns, strings.TrimSuffix(kind, ";"))
	}
	require.Equal(t, []string{
		"required binary (STRING)",
		"required int64 (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS))",
		"optional int64 (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS))",
		"required int64 (INT(64,true))",
		"required int64 (DECIMAL(18,6))",
		"optional double",
		"optional int64 (DECIMAL(18,6))",
		"optional boolean",
		"optional binary (JSON)",
	}, columns)
	rows := make([]parquet.Row, 3)
	n, err := f.RowGroups()[0].Rows().ReadRows(rows)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 2, n)
	cells := func(row parquet.Row) (out []string) {
		for _, v := range row {
			out = append(out, v.String())
		}
		return out
	}
	at := fmt.Sprint(want[0].At.UnixMicro())
	require.Equal(t, []string{"=SUM(A1)", at, at, "3", "-12500000", "-0.25", "-12500000", "true", `{"a":1}`}, cells(rows[0]),
		"Parquet is no spreadsheet: nothing is put in front")
	require.Equal(t, []string{"plain", at, "<null>", "0", "0", "<null>", "<null>", "<null>", "<null>"}, cells(rows[1]))
}

func TestNoRowsAreATableToo(t *testing.T) {
	for _, form := range []table.Form{table.CSV, table.Parquet} {
		var b bytes.Buffer
		require.NoError(t, table.Write(&b, form, []line(nil)))
		require.NotZero(t, b.Len())
	}
	require.Error(t, table.Write(&bytes.Buffer{}, "xlsx", []line(nil)))
}

func TestPieceByPiece(t *testing.T) {
	all := lines(t)
	for _, form := range []table.Form{table.CSV, table.Parquet} {
		var whole, pieces bytes.Buffer
		require.NoError(t, table.Write(&whole, form, all))
		w, err := table.NewWriter[line](&pieces, form)
		require.NoError(t, err)
		for i := range all {
			require.NoError(t, w.Write(all[i:i+1]))
		}
		require.NoError(t, w.Close())
		require.Equal(t, whole.Bytes(), pieces.Bytes())
	}
}
