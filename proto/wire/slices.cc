#include "proto/wire/slices.h"
