package config

import "fmt"

// wrongValue is the error of a value in the file or an override: the property,
// the value given, what is accepted.
func wrongValue(property, value, accepted string) error {
	return fmt.Errorf("%s: %q is not accepted here; it takes %s", property, value, accepted)
}

// notSupported is the error of a property that would be dangerous to ignore.
func notSupported(property, value, instead string) error {
	return fmt.Errorf("%s: %q is not supported yet, and starting without it would not be what you asked for; %s", property, value, instead)
}
