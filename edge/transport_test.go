package edge

// From outside, an address that is refused and one that cannot be reached look alike.

import "testing"

func TestRefuseAddress(t *testing.T) {
	for _, test := range []struct {
		address           string
		refused, loopback bool // loopback: refused unless Config.AllowLoopback
	}{
		{"192.0.2.1:80", false, false},
		{"10.0.0.1:80", false, false}, // private networks are where upstreams live
		{"[2001:db8::1]:80", false, false},
		{"127.0.0.1:80", true, true},
		{"127.9.9.9:80", true, true},
		{"[::1]:80", true, true},
		{"[::ffff:127.0.0.1]:80", true, true},
		{"169.254.169.254:80", true, false},
		{"[::ffff:169.254.169.254]:80", true, false},
		{"[fe80::1%eth0]:80", true, false},
		{"[fd00:ec2::254]:80", true, false},
		{"100.100.100.200:80", true, false},
		{"[::ffff:100.100.100.200]:80", true, false},
		{"168.63.129.16:80", true, false},
		{"[fd20:ce::254]:80", true, false},
		{"[64:ff9b::a9fe:a9fe]:80", true, false}, // NAT64 of 169.254.169.254
		{"[64:ff9b::7f00:1]:80", true, true},     // and of 127.0.0.1
		{"[64:ff9b::]:80", true, false},
		{"[64:ff9b::c000:201]:80", false, false},
		{"0.0.0.0:80", true, false},
		{"[::]:80", true, false},
		{"224.0.0.1:80", true, false},
		{"[ff02::1]:80", true, false},
		{"not an address", true, false},
	} {
		for _, allow := range []bool{false, true} {
			e := &Edge{cfg: Config{AllowLoopback: allow}}
			want := test.refused && !(test.loopback && allow)
			if err := e.refuseAddress("tcp", test.address, nil); (err != nil) != want {
				t.Errorf("%s, loopback allowed %v: got %v, want refused %v", test.address, allow, err, want)
			}
		}
	}
}
