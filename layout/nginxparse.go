package layout

import (
	"fmt"
	"strings"
)

// directive is one statement of an nginx configuration.
type directive struct {
	words []string
	block []*directive // nil unless it has braces
	file  string
	line  int
}

func (d *directive) at() string { return fmt.Sprintf("%s:%d", d.file, d.line) }

// nginxParser reads the text of one file as ngx_conf_file.c does: words apart by white
// space, quotes at the start of a word, backslash escapes, # comments.
type nginxParser struct {
	file string
	text string
	pos  int
	line int
}

// maxNesting bounds blocks within blocks, and includes within includes.
const maxNesting = 32

func parseNginx(file, text string) ([]*directive, error) {
	p := &nginxParser{file: file, text: text, line: 1}
	return p.statements(0)
}

func (p *nginxParser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.line, fmt.Sprintf(format, args...))
}

// statements reads up to the brace that closes a block, or to the end of the file.
func (p *nginxParser) statements(depth int) ([]*directive, error) {
	if depth > maxNesting {
		return nil, p.errorf("blocks are nested too deep")
	}
	list := []*directive{}
	d := &directive{file: p.file, line: p.line}
	for {
		word, quoted, err := p.word()
		if err != nil {
			return nil, err
		}
		switch {
		case word == "" && !quoted && len(d.words) == 0 && depth == 0:
			return list, nil
		case word == "" && !quoted:
			return nil, p.errorf("the file ends in the middle of a statement or block")
		case quoted || !strings.Contains(";{}", word):
			if len(d.words) == 0 {
				d.line = p.line
			}
			d.words = append(d.words, word)
			continue
		case word == "}" && len(d.words) > 0:
			return nil, p.errorf("a semicolon is missing")
		case word == "}" && depth == 0:
			return nil, p.errorf("a brace closes nothing")
		case word == "}":
			return list, nil
		case len(d.words) == 0:
			return nil, p.errorf("a statement has no name")
		case word == "{" && strings.HasSuffix(d.words[0], "_by_lua_block"):
			if err := p.raw(); err != nil {
				return nil, err
			}
		case word == "{":
			if d.block, err = p.statements(depth + 1); err != nil {
				return nil, err
			}
		}
		list = append(list, d)
		d = &directive{file: p.file, line: p.line}
	}
}

// word reads the next word, or one of ; { }. It is empty and not quoted at the end.
func (p *nginxParser) word() (word string, quoted bool, err error) {
	p.blank()
	if p.pos == len(p.text) {
		return "", false, nil
	}
	switch c := p.text[p.pos]; c {
	case ';', '{', '}':
		p.pos++
		return string(c), false, nil
	case '"', '\'':
		word, err := p.quotedWord(c)
		return word, true, err
	}
	return p.plainWord(), true, nil
}

// blank passes over white space and comments.
func (p *nginxParser) blank() {
	for ; p.pos < len(p.text); p.pos++ {
		switch c := p.text[p.pos]; {
		case c == '\n':
			p.line++
		case c == '#':
			end := strings.IndexByte(p.text[p.pos:], '\n')
			if end < 0 {
				p.pos = len(p.text)
				return
			}
			p.pos += end - 1 // the line break is counted above
		case c != ' ' && c != '\t' && c != '\r':
			return
		}
	}
}

func (p *nginxParser) quotedWord(quote byte) (string, error) {
	var b strings.Builder
	for p.pos++; p.pos < len(p.text); p.pos++ {
		switch c := p.text[p.pos]; {
		case c == quote:
			p.pos++
			return b.String(), nil
		case c == '\\' && p.pos+1 < len(p.text):
			p.pos++
			b.WriteString(escaped(p.text[p.pos]))
		default:
			if c == '\n' {
				p.line++
			}
			b.WriteByte(c)
		}
	}
	return "", p.errorf("a quote is not closed")
}

// plainWord ends at white space, a semicolon or a brace; ${name} has braces of its own.
func (p *nginxParser) plainWord() string {
	var b strings.Builder
	for variable := false; p.pos < len(p.text); p.pos++ {
		switch c := p.text[p.pos]; {
		case c == '\\' && p.pos+1 < len(p.text):
			p.pos++
			b.WriteString(escaped(p.text[p.pos]))
			continue
		case c == '{' && strings.HasSuffix(b.String(), "$"):
			variable = true
		case c == '}' && variable:
			variable = false
		case strings.IndexByte(" \t\r\n;{}", c) >= 0 && !(c == '}' && variable):
			return b.String()
		}
		b.WriteByte(p.text[p.pos])
	}
	return b.String()
}

// escaped is what a backslash makes of c: nginx keeps it before what it does not know.
func escaped(c byte) string {
	switch c {
	case '"', '\'', '\\', ' ', ';':
		return string(c)
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'n':
		return "\n"
	}
	return `\` + string(c)
}

// raw passes over a block in another language, whose braces come in pairs.
func (p *nginxParser) raw() error {
	for depth := 1; p.pos < len(p.text); {
		c := p.text[p.pos]
		p.pos++
		switch c {
		case '\n':
			p.line++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return nil
			}
		}
	}
	return p.errorf("a block is not closed")
}
