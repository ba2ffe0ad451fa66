#include "proto/wire/decode.h"
