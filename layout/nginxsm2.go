package layout

// sm2Scope is the pair of pairs that nginx builds with TLCP (Tengine, Tongsuo) have.
type sm2Scope struct{ enc, encKey, sign, signKey, origin string }

// take notes a setting if it is one of the pair's.
func (s *sm2Scope) take(d *directive) {
	switch value := d.words[1]; d.words[0] {
	case "ssl_enc_certificate":
		s.enc, s.origin = value, d.at()
	case "ssl_enc_certificate_key":
		s.encKey = value
	case "ssl_sign_certificate":
		s.sign = value
	case "ssl_sign_certificate_key":
		s.signKey = value
	}
}

// sm2Pair is the SM2 pair of pairs of a server, if it has one.
func (n *nginx) sm2Pair(d *directive, s sm2Scope) []*Pair {
	if s == (sm2Scope{}) {
		return nil
	}
	if s.enc == "" || s.encKey == "" || s.sign == "" || s.signKey == "" {
		n.fail(d.at(), "an SM2 certificate needs ssl_sign_certificate and ssl_enc_certificate with their keys")
		return nil
	}
	p := &Pair{Origin: s.origin}
	p.Cert, p.Key, p.Sign, p.SignKey = n.pemFile(d, s.enc), n.pemFile(d, s.encKey), n.pemFile(d, s.sign), n.pemFile(d, s.signKey)
	if p.Cert == "" || p.Key == "" || p.Sign == "" || p.SignKey == "" {
		return nil
	}
	return []*Pair{p}
}
