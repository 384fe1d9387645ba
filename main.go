// Command gracchus runs a Gracchus message broker.
package main

func main() {}
