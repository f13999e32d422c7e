-- SPDX-License-Identifier: Apache-2.0
-- Lua: calls, tables, strings, closures, floating point.
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end

local function sieve(n)
	local composite, count = {}, 0
	for i = 2, n do
		if not composite[i] then
			count = count + 1
			for j = i * i, n, i do composite[j] = true end
		end
	end
	return count
end

local function words(n)
	local seen, out, state = {}, {}, 7
	for i = 1, n do
		state = (state * 16807) % 2147483647
		local word = string.format("w%d", state % 1000)
		seen[word] = (seen[word] or 0) + 1
	end
	for word, times in pairs(seen) do out[#out + 1] = word .. ":" .. times end
	table.sort(out)
	return #table.concat(out, ","):gsub("w1", "x")
end

local function floats(n)
	local sum, x = 0.0, 0.5
	for i = 1, n do
		x = 3.9 * x * (1 - x)
		sum = sum + math.sqrt(x) * math.sin(x)
	end
	return string.format("%.9f", sum)
end

print(fib(25), sieve(200000), words(60000), floats(300000))
