package dashboard

// call is an example of an API call.
type call struct{ title, text string }

// firstCalls are the calls that make a first campaign.
func firstCalls(base string) []call {
	curl := func(path, body string) string {
		s := "curl -X POST " + base + path + " \\\n  -H \"Authorization: Bearer $KAIROS_API_KEY\""
		if body != "" {
			s += " \\\n  -H 'Content-Type: application/json' \\\n  -d '" + body + "'"
		}
		return s
	}
	return []call{
		{"Add a person", curl("/v1/contacts",
			`{"email": "ada@example.com", "first_name": "Ada", "timezone": "Europe/London"}`)},
		{"Save a template; note its id", curl("/v1/templates",
			"{\"name\": \"Hello\", \"channel\": \"email\",\n       \"subject\": \"Hello {{ contact.first_name }}\",\n       \"html\": \"<p>Good to see you. <a href=\\\"https://example.com\\\">Look around</a></p>\"}")},
		{"Create a campaign; note its id", curl("/v1/campaigns",
			"{\"name\": \"My first campaign\", \"channels\": [\"email\"], \"template\": \"<template id>\",\n       \"audience\": {\"all\": true}, \"schedule\": {\"mode\": \"now\"}}")},
		{"Launch it", curl("/v1/campaigns/<campaign id>/launch", "")},
	}
}

// nextLink is the address of the next page, "" when there is none.
func nextLink(next, link string) string {
	if next == "" {
		return ""
	}
	return link
}
