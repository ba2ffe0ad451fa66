#include "proto/wire/encode.h"
