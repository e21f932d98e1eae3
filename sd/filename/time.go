package filename

import (
	"fmt"
	"strings"
	"time"
)

// timestamp is how times are written where no other form is asked for.
const timestamp = "%Y%m%d%H%M%S"

// datetime is the time in the form of the first argument and the time zone of the second.
func (v *Values) datetime(args []string) string {
	form, at := timestamp, v.Time
	if len(args) > 0 && args[0] != "" {
		form = args[0]
	}
	if len(args) > 1 {
		if zone, err := time.LoadLocation(args[1]); err == nil && args[1] != "" {
			at = at.In(zone)
		}
	}
	return strftime(at, form)
}

// layouts are what directives of strftime are among the layouts of package time.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'e': "_2", 'm': "01", 'y': "06", 'Y': "2006", 'j': "002",
	'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'P': "pm", 'z': "-0700", 'Z': "MST",
	'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05", 'D': "01/02/06", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'r': "03:04:05 PM",
}

// strftime writes a time in a form of C and Python: "%Y-%m-%d". Directives that it does not know stay as they are.
func strftime(t time.Time, form string) string {
	var b strings.Builder
	for i := 0; i < len(form); i++ {
		if form[i] != '%' || i+1 == len(form) {
			b.WriteByte(form[i])
			continue
		}
		i++
		bare := form[i] == '-' && i+1 < len(form)
		if bare {
			i++
		}
		value := directive(t, form[i])
		if short := strings.TrimLeft(value, "0 "); bare && short != "" {
			value = short
		} else if bare && value != "" {
			value = "0"
		}
		b.WriteString(value)
	}
	return b.String()
}

// directive is the value of one.
func directive(t time.Time, letter byte) string {
	year, week := t.ISOWeek()
	switch letter {
	case '%':
		return "%"
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000)
	case 's':
		return fmt.Sprint(t.Unix())
	case 'w':
		return fmt.Sprint(int(t.Weekday()))
	case 'u':
		return fmt.Sprint((int(t.Weekday())+6)%7 + 1)
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100)
	case 'G':
		return fmt.Sprint(year)
	case 'V':
		return fmt.Sprintf("%02d", week)
	case 'U':
		return fmt.Sprintf("%02d", (t.YearDay()+6-int(t.Weekday()))/7)
	case 'W':
		return fmt.Sprintf("%02d", (t.YearDay()+6-(int(t.Weekday())+6)%7)/7)
	case 'k':
		return fmt.Sprintf("%2d", t.Hour())
	case 'l':
		return fmt.Sprintf("%2d", (t.Hour()+11)%12+1)
	}
	if layout, ok := layouts[letter]; ok {
		return t.Format(layout)
	}
	return "%" + string(letter)
}
