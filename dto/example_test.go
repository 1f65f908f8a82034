package dto_test

import (
	"fmt"

	"kairos/dto"
	"kairos/dto/sim"
)

// A month of exploration among 2,000 people of four rhythms, fitted, and one
// person's hour chosen within the campaign's window of 08:00 to 20:00.
func ExampleFit() {
	data := sim.World{Kind: sim.Clusters, Effect: 0.5}.Draw(1).Data
	model, err := dto.Fit(data, dto.Options{Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	var window dto.Mask
	for hour := 8; hour < 20; hour++ {
		window = window.With(hour)
	}
	slot, _ := model.Scorer().Slot(data.Activity.Data[:24], window)
	fmt.Println(model.Decision.Verdict, window.Has(slot))
	// Output: clusters true
}

// Without an effect the log says so, or says how much more it needs.
func ExampleExamine() {
	data := sim.World{Kind: sim.Null, People: 3000, Base: .2}.Draw(1).Data
	main, interaction, err := dto.Examine(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(dto.Decide(main, interaction, 60_000, 12_000, dto.VerdictOptions{}).Verdict)
	fmt.Println(dto.Decide(main, interaction, 6000, 1200, dto.VerdictOptions{}).Verdict)
	// Output:
	// null
	// not_enough_data
}
