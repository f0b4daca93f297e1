package evaluate

import "sallyport.dev/sallyport/internal/evaluate/metric"

// Report is everything that was found. Text from rows in it (names of groups, ids) is escaped for a
// page; a terminal needs Plain.
type Report struct {
	Files     []FileReport `json:"files"`
	Where     string       `json:"where,omitempty"`
	Threshold string       `json:"threshold_on,omitempty"` // in words, where it is not the reported rows
	Rows      int          `json:"rows"`                   // that are reported
	Bad       int          `json:"bad"`                    // lines that could not be read
	FPR       []float64    `json:"fpr"`                    // the false-positive rates of the operating points
	Workers   int          `json:"workers"`
	Systems   []*System    `json:"systems"` // the detector itself first, if it was judged
	Evasion   *Evasion     `json:"evasion,omitempty"`
	Missed    []Mistake    `json:"missed_attacks,omitempty"`
	Alarms    []Mistake    `json:"false_alarms,omitempty"`
	Notes     []string     `json:"notes,omitempty"` // what a reader must know before reading the figures
}

// FileReport is what was read of a file.
type FileReport struct {
	Name string `json:"name"`
	Rows int    `json:"rows"`
	Bad  int    `json:"bad"`
	Left int    `json:"left_out"` // by the filters
}

// System is what is said of one detector.
type System struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Error    string `json:"error,omitempty"` // why it did not judge all rows
	Failed   int    `json:"failed"`          // rows without an answer; they are in no figure
	Scores   bool   `json:"scores"`          // it gives scores
	Verdicts bool   `json:"verdicts"`        // it gives verdicts

	Points []OperatingPoint `json:"points"`
	All    Group            `json:"all"`
	Macro  *Macro           `json:"macro,omitempty"`
	Worst  Worst            `json:"worst"`
	By     []Breakdown      `json:"by"`
	Pairs  *Pairs           `json:"pairs,omitempty"`

	Latency     *Latency           `json:"latency,omitempty"`
	ROC         []metric.Point     `json:"roc,omitempty"`
	Histogram   map[Label][]int    `json:"histogram,omitempty"` // of scores, bins of equal width from 0 to 1
	Calibration *metric.Calibrated `json:"calibration,omitempty"`
}

// OperatingPoint is a threshold: a row is flagged whose score is greater.
type OperatingPoint struct {
	FPR       float64      `json:"fpr"`
	Threshold *float64     `json:"threshold"` // null: there is no benign row to set it on
	Above     *metric.Rate `json:"above"`     // benign rows of the threshold's set that are flagged
}

// Group is what is said of a part of the rows, or of all.
type Group struct {
	Name    string   `json:"name"`
	Rows    int      `json:"rows"`
	AUC     *float64 `json:"auc"` // null: not both attacks and benign rows
	Attacks *Flagged `json:"attacks,omitempty"`
	Benign  *Flagged `json:"benign,omitempty"`
	Harmful *Flagged `json:"harmful_request,omitempty"` // neither attack nor benign
	Trusted *Flagged `json:"trusted,omitempty"`         // system and developer channels
}

// Flagged is how many rows of one class are flagged: recall of attacks, false-positive rate of benign
// rows. A rate is null where the detector gives no score, or no verdict.
type Flagged struct {
	N  int            `json:"n"`
	At []*metric.Rate `json:"at"` // at each of the report's operating points
	// At the detector's own verdict: flagged or more, sanitised or more, blocked.
	Flag     *metric.Rate `json:"flag"`
	Sanitize *metric.Rate `json:"sanitize"`
	Block    *metric.Rate `json:"block"`
}

// Breakdown is the groups of one dimension, the largest first.
type Breakdown struct {
	Dimension string  `json:"dimension"`
	Groups    []Group `json:"groups"`
}

// Macro is averages over sources, each counting the same.
type Macro struct {
	AttackSources int        `json:"attack_sources"`
	BenignSources int        `json:"benign_sources"`
	Recall        []*float64 `json:"recall"` // at the operating points
	FPR           []*float64 `json:"fpr"`
	VerdictRecall *float64   `json:"verdict_recall"`
	VerdictFPR    *float64   `json:"verdict_fpr"`
}

// Worst names the sources with the lowest recall and the most false alarms, five each, at the first
// operating point (at the verdict where there are no scores).
type Worst struct {
	Recall []Named `json:"recall"`
	FPR    []Named `json:"fpr"`
}

// Named is a rate of a source.
type Named struct {
	Source string       `json:"source"`
	Rate   *metric.Rate `json:"rate"`
}

// Pairs is about rows that are the same text with and without an attack.
type Pairs struct {
	N       int            `json:"n"`
	Ordered *metric.Rate   `json:"ordered"` // every attack of the pair scores above every benign twin
	Right   []*metric.Rate `json:"right"`   // at the operating points: all attacks flagged and no twin
}

// Latency is in milliseconds for one call.
type Latency struct {
	P50        float64         `json:"p50_ms"`
	P90        float64         `json:"p90_ms"`
	P99        float64         `json:"p99_ms"`
	Max        float64         `json:"max_ms"`
	Mean       float64         `json:"mean_ms"`
	PerKB      *Percentiles    `json:"per_kb_ms,omitempty"` // of texts of 1 KB and more
	ByLength   []LengthLatency `json:"by_length"`
	Seconds    float64         `json:"seconds"` // of the whole pass, reading and waiting included
	RowsPerSec float64         `json:"rows_per_second"`
	Estimated  bool            `json:"estimated,omitempty"` // the detector gave no times: seconds by rows
}

// Percentiles are in milliseconds.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// LengthLatency is the latency of texts of one length.
type LengthLatency struct {
	Length string `json:"length"`
	N      int    `json:"n"`
	Percentiles
}

// Evasion is what rewriting does to attacks that are found as they are, and to benign rows.
type Evasion struct {
	Attacks    int            `json:"attacks"` // rewritten by each transform
	Benign     int            `json:"benign"`
	Transforms []Rewritten    `json:"transforms"`
	Lookalikes []Rewritten    `json:"lookalikes,omitempty"`
	Families   []FamilyKept   `json:"families,omitempty"`
	Points     []EvasionPoint `json:"points"` // per operating point, then the verdict
}

// Rewritten is what one transform does. Kept and Added hold one value per operating point, then one
// for the verdict.
type Rewritten struct {
	Name   string `json:"name"`
	Family string `json:"family"`
	// Kept is, of the attacks found as they are, how many are found rewritten.
	Kept []*metric.Rate `json:"kept,omitempty"`
	// Added is the false-positive rate of rewritten benign rows less that of the same rows as they are.
	Added  []*float64 `json:"added_fpr"`
	Benign int        `json:"benign"`
	Failed int        `json:"failed,omitempty"`
}

// FamilyKept is the average of a family's transforms, as Kept.
type FamilyKept struct {
	Family string     `json:"family"`
	Kept   []*float64 `json:"kept"`
}

// EvasionPoint sums the transforms up at one operating point.
type EvasionPoint struct {
	Name      string   `json:"name"`
	Average   *float64 `json:"average_kept"`
	Worst     *float64 `json:"worst_kept"`
	WorstName string   `json:"worst,omitempty"`
	AddedFPR  *float64 `json:"added_fpr"` // average over transforms and look-alikes
	MostAdded *float64 `json:"most_added_fpr"`
	MostName  string   `json:"most_added,omitempty"`
}

// Mistake is a row that the detector gets wrong at the first operating point. It is there only on
// request.
type Mistake struct {
	File    string  `json:"file"`
	Line    int     `json:"line"`
	ID      string  `json:"id"`
	Source  string  `json:"source"`
	Channel string  `json:"channel"`
	Score   float64 `json:"score"`
	Verdict string  `json:"verdict"`
	Excerpt string  `json:"excerpt"`
}
