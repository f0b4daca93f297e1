package server

import (
	"context"
	"fmt"
	"strings"

	"sallyport.dev/sallyport/internal/config"
	"sallyport.dev/sallyport/internal/evade"
	"sallyport.dev/sallyport/internal/evaluate"
	"sallyport.dev/sallyport/internal/inspect/policy"
	"sallyport.dev/sallyport/internal/inspect/scan"
)

// Evaluate judges the detector and the policy of a configuration on labelled rows: the same parts
// that Scan uses, and the gateway. o says the rest; Scorer and Version are set here.
func Evaluate(ctx context.Context, cfg *config.Config, o evaluate.Options) (*evaluate.Report, error) {
	pol, err := policy.New(policyOptions(cfg))
	if err != nil {
		return nil, fmt.Errorf("read inspect.policy: %w", err)
	}
	det, err := newDetector(cfg)
	if err != nil {
		return nil, err
	}
	judge, err := scan.NewJudge(scan.Options{Detector: det.det, Policy: pol})
	if err != nil {
		return nil, err
	}
	o.Scorer, o.Version = scorer{judge}, det.pack
	return evaluate.Run(ctx, o)
}

// scorer is the product as evaluate sees it. The verdict is that about attacks: a password in a
// benign text is a finding, and no false alarm of the detector of attacks.
type scorer struct{ judge *scan.Judge }

func (s scorer) Score(row *evaluate.Row) (float64, string, error) {
	var got scan.Judgement
	var err error
	if row.Messages != nil {
		got, err = s.judge.Messages(row.Messages)
	} else {
		got, err = s.judge.Text(row.Text, row.Channel)
	}
	return got.Score, got.Attack.String(), err
}

// Transforms finds the ways of rewriting a text by name: "all" for every one and the look-alikes,
// or names and families, separated by commas.
func Transforms(names string) (transforms, lookalikes []evaluate.Transform, err error) {
	pick := func(of []evade.Transform, name string) (out []evaluate.Transform) {
		for _, t := range of {
			if name == "all" || t.Name == name || t.Family == name {
				out = append(out, evaluate.Transform{Name: t.Name, Family: t.Family, Latin: t.Latin, Apply: t.Apply})
			}
		}
		return out
	}
	for name := range strings.SplitSeq(names, ",") {
		a, b := pick(evade.All(), name), pick(evade.Lookalikes(), name)
		if len(a)+len(b) == 0 {
			return nil, nil, fmt.Errorf("no transform and no family of transforms is named %q", name)
		}
		transforms, lookalikes = append(transforms, a...), append(lookalikes, b...)
	}
	return transforms, lookalikes, nil
}
