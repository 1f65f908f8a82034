package content

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMembers(t *testing.T) {
	for source, want := range map[string]struct {
		names []string
		all   bool
	}{
		`plain`: {},
		`{{ contact.first_name | default: contact.id }}`:                              {[]string{"first_name", "id"}, false},
		`{{ contact.pets.cat }} {{ campaign.name }}`:                                  {[]string{"pets"}, false},
		`<a href="https://shop.example/{{ contact.code }}?c={{ campaign.id }}">x</a>`: {[]string{"code"}, false},
		`<a href="{{ unsubscribe_url }}">x</a>`:                                       {},
		`{{ contact }}`:                                                               {nil, true},
		`{{ contact["first_name"] }}`:                                                 {nil, true},
		`{{ contact.first_name.size }}`:                                               {[]string{"first_name"}, false},
		`{% if contact.city %}x{% endif %}`:                                           {nil, true},
		`{% assign c = contact %}{{ c.city }}`:                                        {nil, true},
		`{% for p in contact.pets %}x{% endfor %}`:                                    {nil, true},
		`{{ campaign.name | append: contact.city }}`:                                  {[]string{"city"}, false},
	} {
		t.Run(source, func(t *testing.T) {
			c, err := Compile(Source{Subject: "s", HTML: source})
			require.NoError(t, err)
			names, all := c.Members("contact")
			require.Equal(t, want.all, all)
			if !all {
				require.Equal(t, want.names, slices.Sorted(maps.Keys(names)))
			}
		})
	}
}
