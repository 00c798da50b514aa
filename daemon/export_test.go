package daemon

const (
	StrangersMax = strangersMax // for tests
	ReportsBurst = reportsBurst
)
