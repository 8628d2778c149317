package api

// Routes lists every operation with its whole pattern, for the test that compares them
// with openapi.yaml.
func Routes() []string {
	var out []string
	for _, p := range products {
		for _, r := range routes {
			if r.serves(p) {
				out = append(out, r.method+" "+p.prefix()+r.path)
			}
		}
	}
	return out
}

// HeaderText is for the test of what warnings become.
var HeaderText = headerText
