package main

import (
	"fmt"
	"strings"
)

// destinations are where the letter's three links lead, in its order.
var destinations = [...]string{"https://shop.example.com/offer", "https://shop.example.com/catalogue", "https://shop.example.com/stories"}

// letter is the content that is sent: about 5 KB of HTML, one variable, three
// tracked links. Pixel and text part are the platform's doing.
func letter() string {
	var b strings.Builder
	b.WriteString(`<!doctype html>
<html><body style="font-family: sans-serif; color: #222">
<h1>Good day, {{ contact.first_name | default: "there" }}</h1>
`)
	texts := []string{"See the offer", "Leaf through the catalogue", "How it is grown"}
	for i, d := range destinations {
		for j := range 4 {
			fmt.Fprintf(&b, "<p style=\"margin: 0 0 1em\">%d.%d The season's harvest is in, and until Sunday all of it costs a fifth less than it did a week ago. "+
				"Pears, plums, walnuts, quinces and honey come from people we know by name, are picked in the morning and leave in the evening, "+
				"and are with you a day after, in a crate that goes back to where it came from and is filled again.</p>\n", i+1, j+1)
		}
		fmt.Fprintf(&b, "<p><a href=\"%s\">%s</a></p>\n", d, texts[i])
	}
	b.WriteString(`<p style="font-size: smaller"><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
</body></html>`)
	return b.String()
}
