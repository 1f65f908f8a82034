package email

// KeepTrust lets a provider use CHUNKING whatever a server has done.
func KeepTrust(p *Provider) { p.distrust = 0 }
