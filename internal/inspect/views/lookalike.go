package views

// lookalike maps letters of other scripts to the Latin letter that they are drawn like (a part of
// the confusables of Unicode UTS 39). It is used only in words that also hold a Latin letter, so
// that words of those scripts stay as they are.
var lookalike = pairs(
	// Cyrillic
	"аaбbвbгrеeѕsіiјjкkмmнhоoпnрpсcтtуyхxһhӏlԁdԛqԝwгrїiёeѵvԍgАaВbЕeЅsІiЈjКkМmНhОoРpСcТtУyХxҺhӀlԀdԚqԜwѴv" +
		// Greek
		"αaβbγyεeηnιiκkνvοoρpτtυuχxωwσoμuΑaΒbΕeΖzΗhΙiΚkΜmΝnΟoΡpΤtΥyΧx" +
		// Armenian
		"օoոnսuհhցgԁdզqՏsՕo")

// latinForms are Latin letters in disguise: small capitals, strokes, script letters.
var latinForms = func() map[rune]rune {
	m := map[rune]rune{}
	for r, c := range pairs("’'‘'ʼ'“\"”\"„\"‐-‑-‒-–-—-ıiłlŁløoØođdĐdħhɑaɡgɩiɪiɢgɴnᴏoʀrᴇeᴀaʙbᴄcᴅdꜰfʜhᴊjᴋkʟlᴍmᴘpꜱsᴛtᴜuᴠvᴡwʏyᴢzɛeɔoəe") {
		m[r] = rune(c)
	}
	return m
}()

func pairs(s string) map[rune]byte {
	m := map[rune]byte{}
	rs := []rune(s)
	for i := 0; i+1 < len(rs); i += 2 {
		m[rs[i]] = byte(rs[i+1])
	}
	return m
}
