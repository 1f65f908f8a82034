package sim

import (
	"compress/gzip"
	"bufio"
	"fmt"
	"os"
	"testing"
	"time"

	"kairos/dto"
)

func TestExplore(t *testing.T) {
	t0 := time.Now()
	for _, c := range []struct{ lift float64; people int }{{.10, 2000}, {.03, 10000}} {
		w := World{Kind: Clusters, People: c.people}.WithOracleLift(c.lift, 1)
		main, inter := 0, 0
		reps := 60
		if c.people > 2000 { reps = 20 }
		for i := range reps {
			m, p := w.Level(uint64(i + 1))
			if m < .05 { main++ }
			if p < .05 { inter++ }
		}
		fmt.Printf("lift %.2f A=%.3f n=%d power inter %.2f main %.2f (%v)\n", c.lift, w.Effect, c.people*20, float64(inter)/float64(reps), float64(main)/float64(reps), time.Since(t0))
	}
	for _, n := range []int{2000, 10000} {
		for _, a := range []float64{.1, .3, .5, .8} {
			w := World{Kind: Clusters, People: n, Effect: a}
			s, l, or := 0.0, 0.0, 0.0
			ks := map[int]int{}
			reps := 10
			if n > 2000 { reps = 3 }
			for i := range reps {
				tr, err := w.Try(uint64(i+1), dto.Options{})
				if err != nil { t.Fatal(err) }
				s += tr.Share/float64(reps); l += tr.Lift/float64(reps); or += tr.Oracle/float64(reps)
				ks[tr.Model.K]++
				if i == 0 { fmt.Println("  ", tr.Model.C, tr.Model.Prior, tr.Model.Bandwidth, tr.Model.Gain, tr.Model.Decision.Verdict) }
			}
			fmt.Printf("n=%d A=%.1f share %.2f lift %.3f oracle %.3f K %v (%v)\n", n, a, s, l, or, ks, time.Since(t0))
		}
	}
}

func TestExploreReplay(t *testing.T) {
	f, _ := os.Open("../testdata/replay_dev.csv.gz")
	z, _ := gzip.NewReader(f)
	sc := bufio.NewScanner(z)
	sc.Scan()
	var days []Day
	for sc.Scan() {
		var d Day
		fmt.Sscanf(sc.Text(), "%d,%d,%d", &d.User, &d.Day, &d.Hours)
		days = append(days, d)
	}
	for _, keep := range []int{0, 30, 10, 5} {
		t0 := time.Now()
		r, err := Replay(days, keep, dto.Options{})
		if err != nil { t.Fatal(err) }
		m := r.Model
		fmt.Printf("keep %d: people %d train %d test %d random %.3f global %.3f (+%.2f) personal %.3f lift %.3f [%.3f %.3f] K=%d c=%.2f k0=%g bw=%g gain %.1f %s %v\n", keep, r.People, r.TrainDays, r.TestDay, r.Random, r.Global, r.GlobalOverRandom, r.Personal, r.Lift, r.Low, r.High, m.K, m.C, m.Prior, m.Bandwidth, m.Gain, m.Decision.Verdict, time.Since(t0))
	}
}
