package turns

import (
	"bytes"
)

// LeastShots is how many answers in one text make a many-shot attack of it.
const LeastShots = 6

// Shots says how many invented answers of an assistant a text holds, each after an invented question,
// and how many of them agree at once. A text full of an assistant that always complies teaches the model
// to comply (many-shot jailbreaking: Anil et al., NeurIPS 2024); examples for a task hold answers that
// are results, not consent.
func Shots(text []byte) (answers, agree int) {
	if bytes.Count(text, []byte{'\n'}) < 2*LeastShots-1 {
		return 0, 0
	}
	asked := false
	for line := range bytes.Lines(text) {
		line = bytes.TrimLeft(line, " \t>*#-[<|")
		name, said, ok := bytes.Cut(line[:min(len(line), 160)], []byte{':'})
		if !ok || len(name) > 16 {
			continue
		}
		switch role(name) {
		case asker:
			asked = true
		case answerer:
			if asked {
				answers++
				if consents(said) {
					agree++
				}
			}
			asked = false
		}
	}
	return answers, agree
}

type speaker uint8

const (
	nobody speaker = iota
	asker
	answerer
)

func role(name []byte) speaker {
	switch string(bytes.ToLower(bytes.Trim(name, " \t*_]>|\"0123456789.)("))) {
	case "user", "human", "q", "question", "me", "person", "customer", "benutzer", "usuario", "utilisateur", "пользователь", "用户":
		return asker
	case "assistant", "ai", "a", "answer", "bot", "chatbot", "model", "gpt", "chatgpt", "claude", "assistent", "asistente", "ассистент", "助手":
		return answerer
	}
	return nobody
}

var openings = func() (out [][]byte) {
	for _, s := range []string{
		"sure", "of course", "certainly", "absolutely", "yes, here", "here is how", "here's how", "here are the steps", "no problem", "gladly", "happy to",
		"step 1", "first, ", "to do this", "natürlich", "gerne", "klar", "claro", "por supuesto", "bien sûr", "конечно", "当然", "好的",
	} {
		out = append(out, []byte(s))
	}
	return out
}()

func consents(said []byte) bool {
	said = bytes.ToLower(bytes.TrimLeft(said, " \t\"*_"))
	for _, o := range openings {
		if bytes.HasPrefix(said, o) {
			return true
		}
	}
	return false
}
