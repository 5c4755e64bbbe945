package prometheus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Why a query has no value.
var (
	// ErrNoValue: there is no series now, or its value is not a number. Another
	// look may find one.
	ErrNoValue = errors.New("no value")
	// ErrNotOne: the answer is not one number and never will be.
	ErrNotOne = errors.New("not one number")
	// ErrRefused: the server refused the query.
	ErrRefused = errors.New("refused")
)

// Value is the answer of an instant query that is a scalar, or a vector of one
// series. Infinities are the largest floats, so that they can be recorded.
func (c *Client) Value(ctx context.Context, expr string) (float64, error) {
	kind, result, err := c.instant(ctx, expr)
	if err != nil {
		return 0, err
	}
	var value point
	switch kind {
	case "scalar":
		err = json.Unmarshal(result, &value)
	case "vector":
		value, err = single(result)
	default:
		return 0, fmt.Errorf("prometheus: the answer is a %s: %w", kind, ErrNotOne)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("prometheus: %w", err)
	case math.IsNaN(value.value):
		return 0, fmt.Errorf("prometheus: the answer is NaN: %w", ErrNoValue)
	}
	return math.Max(-math.MaxFloat64, math.Min(value.value, math.MaxFloat64)), nil
}

// single is the value of a vector of one series.
func single(result json.RawMessage) (point, error) {
	var list []series
	if err := json.Unmarshal(result, &list); err != nil {
		return point{}, err
	}
	switch {
	case len(list) == 0:
		return point{}, fmt.Errorf("the answer is empty: %w", ErrNoValue)
	case len(list) > 1:
		return point{}, fmt.Errorf("the answer has %d series: %w", len(list), ErrNotOne)
	case list[0].Value == nil:
		return point{}, fmt.Errorf("the answer is a histogram: %w", ErrNotOne)
	}
	return *list[0].Value, nil
}
