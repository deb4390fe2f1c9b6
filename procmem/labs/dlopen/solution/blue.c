int base(int number);
int blue(int number);

/* Calls a function of another library, libbase.so. */
int blue(int number)
{
    return base(number) + 1;
}
